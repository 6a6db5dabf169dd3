/** Invitations. Of the token that accepts one, only the SHA-256 is kept. */

import type { OrganizationId, UserId } from '#contract/ids.ts'
import type { InviteProject } from '#contract/invites.ts'
import type { OrganizationRole } from '#core/roles.ts'
import { only, type Queryable, sql } from './database.ts'
import { behindCursor, type Order, type Page, type PageRequest, rowsToRead, toPage } from './keyset.ts'

export type InviteRow = {
  id: string
  organization_id: OrganizationId
  email: string
  role: OrganizationRole
  projects: InviteProject[]
  /** The person whose key sent it. */
  invited_by: UserId | null
  created_at: Date
  expires_at: Date
  accepted_at: Date | null
}

const columns = `invites.id, invites.organization_id, invites.email, invites.role, invites.projects, invites.invited_by,
  invites.created_at, invites.expires_at, invites.accepted_at`
const inOrganization = (row: string): string => `${row}.organization_id = $1 and ${row}.deleted_at is null`
// One that was withdrawn since the page before still says where the next one begins
const inviteList = { table: 'invites', columns: ['created_at', 'id'], id: 'id', within: 'c.organization_id = $1' }
const invitesPage = (order: Order): string =>
  `select ${columns} from invites where ${inOrganization('invites')} and ${behindCursor(inviteList, order, ['$2', '$3'])}`

export async function listInvites(
  database: Queryable,
  organization: OrganizationId,
  page: PageRequest,
): Promise<Page<InviteRow>> {
  const values = [organization, page.after ?? null, rowsToRead(page)]
  return toPage(await database.query<InviteRow>(sql(invitesPage(page.order)), values), page)
}

const inviteById = sql(`select ${columns} from invites where ${inOrganization('invites')} and id = $2`)

export async function findInvite(
  database: Queryable,
  organization: OrganizationId,
  id: string,
): Promise<InviteRow | undefined> {
  const [row] = await database.query<InviteRow>(inviteById, [organization, id])
  return row
}

/** Holds it until the transaction ends: it is accepted or withdrawn, never both. */
export async function lockInvite(
  tx: Queryable,
  organization: OrganizationId,
  id: string,
): Promise<InviteRow | undefined> {
  const [row] = await tx.query<InviteRow>(sql(`${inviteById.text} for update`), [organization, id])
  return row
}

export async function findInviteByToken(database: Queryable, tokenHash: Buffer): Promise<InviteRow | undefined> {
  const text = `select ${columns} from invites where token_hash = $1 and deleted_at is null`
  const [row] = await database.query<InviteRow>(sql(text), [tokenHash])
  return row
}

/** To be asked while the organization is locked. */
export async function isInvitePending(
  tx: Queryable,
  organization: OrganizationId,
  { email, now }: { readonly email: string; readonly now: Date },
): Promise<boolean> {
  const text = `select from invites where ${inOrganization('invites')} and lower(email) = lower($2)
    and accepted_at is null and expires_at > $3`
  return (await tx.query(sql(text), [organization, email, now])).length > 0
}

export type NewInvite = Pick<InviteRow, 'id' | 'email' | 'role'> & {
  readonly organizationId: OrganizationId
  readonly invitedBy: UserId | null
  readonly projects: readonly InviteProject[]
  readonly tokenHash: Buffer
  readonly expiresAt: Date
}

export async function insertInvite(tx: Queryable, invite: NewInvite): Promise<InviteRow> {
  const text = `insert into invites (id, organization_id, email, role, projects, token_hash, expires_at, invited_by)
    values ($1, $2, $3, $4, $5, $6, $7, $8) returning ${columns}`
  const { id, organizationId, email, role, projects, tokenHash, expiresAt, invitedBy } = invite
  const values = [id, organizationId, email, role, JSON.stringify(projects), tokenHash, expiresAt, invitedBy]
  return only(await tx.query<InviteRow>(sql(text), values))
}

export async function markAccepted(tx: Queryable, id: string, at: Date): Promise<void> {
  await tx.query(sql('update invites set accepted_at = $2 where id = $1'), [id, at])
}

/** What somebody sent, and what it gives. */
export type Gift = Pick<InviteRow, 'organization_id' | 'invited_by' | 'role' | 'projects'>

/** Those that a person sent and nobody has accepted, one row for all that give the same. */
export function pendingGifts(
  database: Queryable,
  organization: OrganizationId,
  now: Date,
): Promise<(Gift & { ids: string[] })[]> {
  const text = `select organization_id, invited_by, role, projects, array_agg(id) as ids from invites
    where ${inOrganization('invites')} and accepted_at is null and expires_at > $2 and invited_by is not null
    group by organization_id, invited_by, role, projects`
  return database.query(sql(text), [organization, now])
}

/** @returns those that nobody accepted meanwhile */
export async function withdrawInvites(tx: Queryable, ids: readonly string[]): Promise<string[]> {
  const text = `update invites set deleted_at = now() where id = any($1) and accepted_at is null and deleted_at is null
    returning id`
  return (await tx.query<{ id: string }>(sql(text), [ids])).map(({ id }) => id)
}
