/**
 * What somebody may give to others, be it a role or a key: nothing that their own key may not do, or a narrow key would be as
 * good as a wide one.
 */
import { apiError } from '#contract/errors.ts'
import { holdsScope, impliedScopes, scopeNames } from '#contract/scopes.ts'
import { mayDo } from './access.ts'
import type { Grant } from './grant.ts'
import { predefinedRoles } from './roles.ts'

/** @throws ApiError beyond_own_permissions, which names them */
export function requireGrantable(grant: Grant, permissions: Iterable<string>): void {
  const beyond = [...permissions].filter(permission => !impliedScopes([permission]).every(scope => mayDo(grant, scope)))
  if (beyond.length > 0) throw apiError('beyond_own_permissions', { permissions: beyond })
}

/**
 * @param where permissions that only make sense in the whole organization are no permissions of a project's role
 * @throws ApiError invalid_parameter, which names the first that is none
 */
export function requirePermissions(permissions: readonly string[], where: 'organization' | 'project'): void {
  const unknown = permissions.find(permission => !scopeNames.includes(permission))
  if (unknown !== undefined) throw noPermission(unknown)
  const tooWide = permissions.find(permission => where === 'project' && !isOfProjects(permission))
  if (tooWide !== undefined) throw organizationOnly(tooWide)
}

const isOfProjects = (permission: string): boolean =>
  impliedScopes([permission]).every(scope => holdsScope(predefinedRoles.projectOwner.permissions, scope))

const invalid = (message: string): Error => apiError('invalid_parameter', { param: 'permissions', message })

const noPermission = (name: string): Error =>
  invalid(`Unknown permission '${name.slice(0, 100)}'. docs/permissions.md lists them, as in 'model.request'.`)

const organizationOnly = (name: string): Error =>
  invalid(`'${name}' is a permission of the organization. Put it into a role of the organization instead.`)
