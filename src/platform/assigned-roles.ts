/** Roles that somebody was given, as answers show them: in full where they are asked for, in short beside a membership. */
import type { Queryable } from '#storage/database.ts'
import { type AssignedRoleRow, listAssignedRoles } from '#storage/role-assignments.ts'
import type { RolePlace } from '#storage/roles.ts'
import type { Membership } from './assign-role.ts'
import { unixSecondsOrNull } from './page.ts'
import { predefined, type Role, toRole } from './role.ts'

/** Whoever has more is shown these; the list of roles has them all. */
const shownMax = 100

/** Whatever role the membership itself has: these add to it, and a person has those of their groups too. */
export async function rolesBeside(database: Queryable, { place, principal }: Membership) {
  const { rows } = await listAssignedRoles(database, place, principal, { limit: shownMax, order: 'asc' })
  return rows.map(row => {
    const { id, name } = roleOf(row, place)
    return { id, name, assignment_sources: sourcesOf(row) }
  })
}

export function toAssigned(row: AssignedRoleRow, place: RolePlace) {
  const { object: _, ...role } = roleOf(row, place)
  return {
    ...role,
    created_at: unixSecondsOrNull(row.created_at),
    updated_at: unixSecondsOrNull(row.updated_at),
    created_by: row.created_by,
    created_by_user_obj: row.created_by === null ? null : creatorOf(row, row.created_by),
    metadata: null,
    assignment_sources: sourcesOf(row),
  }
}

const sourcesOf = ({ groups }: AssignedRoleRow) =>
  groups.length === 0 ? null : groups.map(id => ({ principal_id: id, principal_type: 'group' as const }))

function roleOf({ role_id: id, name, description, permissions }: AssignedRoleRow, place: RolePlace): Role {
  // What has no row of its own is predefined: assignments go with the role that they are of
  if (name === null || permissions === null) return predefinedRole(id, place)
  return toRole({ id, name, description, permissions }, place)
}

function predefinedRole(id: string, place: RolePlace): Role {
  const role = predefined(id, place)
  if (!role) throw new Error(`${id} is assigned, and there is no such role`)
  return role
}

const creatorOf = ({ creator_name: name, creator_email: email }: AssignedRoleRow, id: string) => ({
  id,
  name: name ?? '',
  email,
})
