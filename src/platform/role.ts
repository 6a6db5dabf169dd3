/** A role on the wire, whoever made it. */
import { type PredefinedRole, predefinedRole, predefinedRoles } from '#core/roles.ts'
import type { RolePlace, RoleRow } from '#storage/roles.ts'

export type Role = {
  object: 'role'
  id: string
  name: string
  description: string | null
  permissions: string[]
  resource_type: 'api.organization' | 'api.project'
  predefined_role: boolean
}

type Where = Pick<RolePlace, 'projectId'>

const resourceType = ({ projectId }: Where) => (projectId === null ? 'api.organization' : 'api.project')

export const toRole = ({ id, name, description, permissions }: RoleRow, place: Where): Role => ({
  object: 'role',
  id,
  name,
  description,
  permissions,
  resource_type: resourceType(place),
  predefined_role: false,
})

const toPredefined = ({ id, name, description, permissions, resourceType: type }: PredefinedRole): Role => ({
  object: 'role',
  id,
  name,
  description,
  permissions: [...permissions],
  resource_type: type,
  predefined_role: true,
})

/** In the order in which lists show them, before all others. */
export const predefinedIn = (place: Where): Role[] =>
  Object.values(predefinedRoles)
    .filter(role => role.resourceType === resourceType(place))
    .map(toPredefined)

export function predefined(id: string): Role | undefined {
  const role = predefinedRole(id)
  return role && toPredefined(role)
}
