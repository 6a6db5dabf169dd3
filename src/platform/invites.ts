/**
 * Invitations. The token is 256 random bits that are shown once; whoever brings it back becomes a member. That one call is
 * open to everybody, so it says the same about every token that does not work, and guessing one is hopeless. What it gives is
 * never more than whoever sent it may give at that moment: invite-senders.ts.
 */
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { apiError } from '#contract/errors.ts'
import { newId, randomBase62 } from '#contract/ids.ts'
import type { InviteProject, invites } from '#contract/invites.ts'
import type { Grant } from '#core/grant.ts'
import { requireGrantable } from '#core/granting.ts'
import { organizationPermissions, projectPermissions } from '#core/roles.ts'
import type { Queryable } from '#storage/database.ts'
import {
  findInvite,
  findInviteByToken,
  type InviteRow,
  insertInvite,
  isInvitePending,
  listInvites,
  lockInvite,
  markAccepted,
  withdrawInvites,
} from '#storage/invites.ts'
import { lockOrganization, organizationName } from '#storage/organizations.ts'
import { insertMemberships } from '#storage/project-users.ts'
import { findUserByEmail, insertMember } from '#storage/users.ts'
import { activeProject } from './active-project.ts'
import { change } from './change.ts'
import type { Handlers } from './handler.ts'
import { invitePage } from './invite-page.ts'
import { mayStillSend } from './invite-senders.ts'
import { queueMail } from './mail/queue-mail.ts'
import { toList, unixSeconds, unixSecondsOrNull } from './page.ts'
import type { PlatformParts } from './platform.ts'
import { toUser } from './users.ts'

const inviteLifetimeMs = 7 * 86_400_000
/** 43 base62 characters hold 256 bits. */
const tokenCharacters = 43

export const inviteHandlers: Handlers<typeof invites> = {
  async list({ database, wallClock }, { grant, query }) {
    const page = await listInvites(database, grant.organizationId, query)
    return toList(
      page,
      row => toInvite(row, wallClock()),
      row => row.id,
    )
  },

  create(parts, call) {
    const { grant, body } = call
    const { organizationId } = grant
    const nowMs = parts.wallClock()
    return change(parts, call, async tx => {
      await lockOrganization(tx, organizationId)
      await requireStranger(tx, grant, { email: body.email, now: new Date(nowMs) })
      requireGrantable(grant, organizationPermissions(body.role))
      const projects = await grantableProjects(tx, grant, body.projects ?? [])
      const token = randomBase62(tokenCharacters)
      const row = await insertInvite(tx, {
        id: newId('invite'),
        organizationId,
        invitedBy: grant.userId,
        email: body.email,
        role: body.role,
        projects,
        tokenHash: hashToken(token),
        expiresAt: new Date(nowMs + inviteLifetimeMs),
      })
      await sendInvite(tx, parts, { row, token })
      const detail = { data: { email: row.email, role: row.role } }
      return {
        answer: { ...toInvite(row, nowMs), token },
        audit: [{ type: 'invite.sent', resourceId: row.id, detail }],
        affects: [],
      }
    })
  },

  async retrieve({ database, wallClock }, { grant, params }) {
    return toInvite(existing(await findInvite(database, grant.organizationId, params.invite_id)), wallClock())
  },

  delete(parts, call) {
    const { organizationId } = call.grant
    const { invite_id: id } = call.params
    return change(parts, call, async tx => {
      const row = existing(await lockInvite(tx, organizationId, id))
      if (row.accepted_at !== null) throw acceptedAlready()
      await withdrawInvites(tx, [id])
      return {
        answer: { id, object: 'organization.invite.deleted', deleted: true },
        audit: [{ type: 'invite.deleted', resourceId: id }],
        affects: [],
      }
    })
  },

  async acceptPage() {
    return Readable.from([invitePage])
  },

  async accept(parts, { source, body }) {
    const { database, wallClock } = parts
    const found = usable(await findInviteByToken(database, hashToken(body.token)), wallClock())
    const { organization_id: organizationId, email, role } = found
    const id = newId('user')
    const caller = { source, session: { organizationId, user: { id, email } } }
    return change(parts, caller, async tx => {
      const invite = usable(await lockInvite(tx, organizationId, found.id), wallClock())
      if (!(await mayStillSend(tx, invite))) throw apiError('invite_invalid')
      const member = await insertMember(tx, { id, organizationId, name: body.name, email, role })
      if (!member) throw memberAlready(email)
      await insertMemberships(tx, organizationId, id, invite.projects)
      await markAccepted(tx, invite.id, new Date(wallClock()))
      return {
        answer: toUser(member),
        audit: [
          { type: 'invite.accepted', resourceId: invite.id },
          { type: 'user.added', resourceId: id, detail: { data: { role } } },
        ],
        // The person has no keys yet
        affects: [],
      }
    })
  },
}

/** Where there is no mail server the token of the answer is all that there is, and whoever invites hands it over. */
async function sendInvite(
  tx: Queryable,
  { mail, secrets }: PlatformParts,
  { row, token }: { row: InviteRow; token: string },
): Promise<void> {
  if (!mail) return
  const { organization_id: organizationId, email, role, expires_at } = row
  await queueMail(tx, 'invite', {
    organizationId,
    to: [email],
    about: {
      organization: await organizationName(tx, organizationId),
      role,
      expiresOn: expires_at.toISOString().slice(0, 10),
    },
    // Behind the #: browsers keep it to themselves, so that it is in no log
    link: { url: `${mail.publicUrl}/v1/organization/invites/accept#${token}`, secrets },
  })
}

const hashToken = (token: string): Buffer => createHash('sha256').update(token).digest()

/** @throws ApiError conflict when a member or a pending invitation has this address */
async function requireStranger(
  tx: Queryable,
  { organizationId }: Grant,
  { email, now }: { email: string; now: Date },
): Promise<void> {
  if (await findUserByEmail(tx, organizationId, email)) throw memberAlready(email)
  if (await isInvitePending(tx, organizationId, { email, now })) throw invitedAlready(email)
}

/** Active projects of the organization, each in a role that the caller may give. */
async function grantableProjects(
  tx: Queryable,
  grant: Grant,
  projects: readonly InviteProject[],
): Promise<InviteProject[]> {
  const byId = new Map(projects.map(project => [project.id, project]))
  for (const { id, role } of byId.values()) {
    await activeProject(tx, grant, id)
    requireGrantable(grant, projectPermissions(role))
  }
  return [...byId.values()]
}

function usable(row: InviteRow | undefined, nowMs: number): InviteRow {
  if (!row || row.accepted_at !== null || row.expires_at.getTime() <= nowMs) throw apiError('invite_invalid')
  return row
}

function existing(row: InviteRow | undefined): InviteRow {
  if (!row) throw apiError('not_found', { what: 'invite' })
  return row
}

const memberAlready = (email: string): Error =>
  apiError('conflict', { message: `${email} belongs to a member of the organization already.` })

const invitedAlready = (email: string): Error =>
  apiError('conflict', {
    message: `${email} is invited already. Withdraw that invitation first: \`keyhouse invites revoke\`.`,
  })

const acceptedAlready = (): Error =>
  apiError('conflict', { message: 'This invitation was accepted. Remove the user instead: `keyhouse users remove`.' })

const toInvite = (row: InviteRow, nowMs: number) => ({
  object: 'organization.invite' as const,
  id: row.id,
  email: row.email,
  role: row.role,
  status: statusOf(row, nowMs),
  created_at: unixSeconds(row.created_at),
  expires_at: unixSeconds(row.expires_at),
  accepted_at: unixSecondsOrNull(row.accepted_at),
  projects: row.projects,
})

function statusOf({ accepted_at, expires_at }: InviteRow, nowMs: number): 'accepted' | 'expired' | 'pending' {
  if (accepted_at !== null) return 'accepted'
  return expires_at.getTime() <= nowMs ? 'expired' : 'pending'
}
