/** People of the organization. What changes about one is told as a change of the organization: it may concern any key. */
import { apiError } from '#contract/errors.ts'
import type { users } from '#contract/users.ts'
import type { Grant } from '#core/grant.ts'
import { requireGrantable } from '#core/granting.ts'
import { type OrganizationRole, organizationPermissions } from '#core/roles.ts'
import type { Queryable } from '#storage/database.ts'
import { lockOrganization } from '#storage/organizations.ts'
import {
  countOtherOwners,
  describeUser,
  findUser,
  listUsers,
  lockUser,
  removeUser,
  type UserDetails,
  type UserRow,
  updateUser,
} from '#storage/users.ts'
import { assignableRole, assignToMembership, type Membership } from './assign-role.ts'
import { rolesBeside } from './assigned-roles.ts'
import { change } from './change.ts'
import type { Handlers } from './handler.ts'
import { toList, unixSeconds, unixSecondsOrNull } from './page.ts'
import type { Role } from './role.ts'

export const userHandlers: Handlers<typeof users> = {
  async list({ database }, { grant, query }) {
    return toList(await listUsers(database, grant.organizationId, query), toUser, row => row.id)
  },

  async retrieve({ database }, { grant, params }) {
    const row = existingUser(await findUser(database, grant.organizationId, params.user_id))
    const details = toDetails(await describeUser(database, row.id))
    return { ...toUser(row), ...details, assigned_roles: await rolesBeside(database, membershipOf(grant, row)) }
  },

  update(parts, call) {
    const { grant, params, body } = call
    const { organizationId } = grant
    return change(parts, call, async tx => {
      await lockOrganization(tx, organizationId)
      const row = existingUser(await lockUser(tx, organizationId, params.user_id))
      const given = await givenRole(tx, grant, body)
      const role = given?.role ?? row.role
      await checkRole(tx, grant, row, role)
      const { technical_level = row.technical_level, developer_persona = row.developer_persona } = body
      const updated = await updateUser(tx, row.id, { role, technical_level, developer_persona })
      const membership = membershipOf(grant, row)
      const assigned = given ? await assignToMembership(tx, membership, { role: given.custom, project: null }) : []
      return {
        answer: { ...toUser(updated), assigned_roles: await rolesBeside(tx, membership) },
        audit: [{ type: 'user.updated', resourceId: row.id, detail: { changes_requested: body } }, ...assigned],
        affects: [['organization', organizationId]],
      }
    })
  },

  async delete(parts, call) {
    const { organizationId } = call.grant
    const { user_id: id } = call.params
    return change(parts, call, async tx => {
      await lockOrganization(tx, organizationId)
      const row = existingUser(await lockUser(tx, organizationId, id))
      await keepAnOwner(tx, call.grant, row)
      await removeUser(tx, row.id)
      return {
        answer: { id, object: 'organization.user.deleted', deleted: true },
        audit: [{ type: 'user.deleted', resourceId: id }],
        affects: [['organization', organizationId]],
      }
    })
  },
}

const placeOf = ({ organizationId }: Grant) => ({ organizationId, projectId: null })

const membershipOf = (grant: Grant, { id }: UserRow): Membership => ({
  place: placeOf(grant),
  principal: { kind: 'user', id },
})

type Given = { readonly role?: OrganizationRole | null | undefined; readonly role_id?: string | null | undefined }

type NewRole = { readonly role: OrganizationRole; readonly custom: Role | null }

/** `role_id` is another way to say `role`, or it is a custom role: then the membership itself gives the least that there is. */
async function givenRole(tx: Queryable, grant: Grant, { role, role_id: id }: Given): Promise<NewRole | undefined> {
  if (id === undefined || id === null) return role ? { role, custom: null } : undefined
  if (role !== undefined && role !== null) throw bothGiven()
  const found = await assignableRole(tx, grant, placeOf(grant), id)
  if (!found.predefined_role) return { role: 'reader', custom: found }
  // Of the organization's predefined roles there are these two
  return { role: found.name === 'owner' ? 'owner' : 'reader', custom: null }
}

const bothGiven = (): Error =>
  apiError('invalid_parameter', { param: 'role_id', message: "Send 'role' or 'role_id', not both." })

async function checkRole(tx: Queryable, grant: Grant, row: UserRow, role: OrganizationRole): Promise<void> {
  if (role === row.role) return
  requireGrantable(grant, organizationPermissions(role))
  await keepAnOwner(tx, grant, row)
}

/** @throws ApiError conflict when this is the last owner; only right while the organization is locked */
async function keepAnOwner(tx: Queryable, { organizationId }: Grant, { id, role }: UserRow): Promise<void> {
  if (role === 'owner' && (await countOtherOwners(tx, organizationId, id)) === 0) throw lastOwner()
}

const lastOwner = (): Error =>
  apiError('conflict', {
    message: 'This is the last owner of the organization. Make somebody else an owner first.',
  })

/** @throws ApiError not_found, for one of another organization as for one that never was */
export function existingUser(row: UserRow | undefined): UserRow {
  if (!row) throw apiError('not_found', { what: 'user in this organization' })
  return row
}

export const toUser = (row: UserRow) => ({
  object: 'organization.user' as const,
  id: row.id as string,
  name: row.name,
  email: row.email,
  role: row.role,
  added_at: unixSeconds(row.created_at),
  created: unixSeconds(row.created_at),
  is_service_account: false as const,
  is_scim_managed: false as const,
  technical_level: row.technical_level,
  developer_persona: row.developer_persona,
  user: {
    object: 'user' as const,
    id: row.id as string,
    email: row.email,
    name: row.name,
    picture: row.picture,
    enabled: true as const,
    banned: false as const,
    banned_at: null,
  },
})

const toDetails = ({ last_used_at, projects }: UserDetails) => ({
  api_key_last_used_at: unixSecondsOrNull(last_used_at),
  projects: { object: 'list' as const, data: projects },
})
