/** A role on the wire, whoever made it. */
import { predefinedRoles } from '#core/roles.ts'
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

/** OpenAI names a predefined role with the place that it is in: `role-api-project-member__api-project__proj_…`. */
const placeSuffix = (place: RolePlace): string =>
  place.projectId === null ? `__api-organization__${place.organizationId}` : `__api-project__${place.projectId}`

/** As roles are kept, and as clients may name them too: without the place. */
export const keptId = (id: string, place: RolePlace): string =>
  id.endsWith(placeSuffix(place)) ? id.slice(0, -placeSuffix(place).length) : id

/** In the order in which lists show them, before all others. */
export const predefinedIn = (place: RolePlace): Role[] =>
  Object.values(predefinedRoles)
    .filter(role => role.resourceType === resourceType(place))
    .map(({ id, name, description, permissions, resourceType: type }) => ({
      object: 'role',
      id: id + placeSuffix(place),
      name,
      description,
      permissions: [...permissions],
      resource_type: type,
      predefined_role: true,
    }))

export const predefined = (id: string, place: RolePlace): Role | undefined =>
  predefinedIn(place).find(role => keptId(role.id, place) === keptId(id, place))
