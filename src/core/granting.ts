/**
 * What somebody may give to others, be it a role or a key: nothing that their own key may not do, or a narrow key would be as
 * good as a wide one.
 */
import { apiError } from '#contract/errors.ts'
import { allScopes, holdsScope, impliedScopes, keyAllows, type Scope, scopeNames } from '#contract/scopes.ts'
import { mayDo } from './access.ts'
import type { Grant } from './grant.ts'
import { predefinedRoles } from './roles.ts'

/** @throws ApiError beyond_own_permissions, which names them */
export function requireGrantable(grant: Grant, permissions: Iterable<string>): void {
  const beyond = [...permissions].filter(permission => !impliedScopes([permission]).every(scope => mayDo(grant, scope)))
  if (beyond.length > 0) throw apiError('beyond_own_permissions', { permissions: beyond })
}

/** Do these permissions hold all of those, whichever of them implies which? */
export const coversAll = (held: ReadonlySet<string>, wanted: Iterable<string>): boolean =>
  impliedScopes([...wanted]).every(scope => holdsScope(held, scope))

export type GivenKey = { readonly ownerUserId: string | null; readonly scopes: readonly string[] }

/**
 * Of a key whose secret the caller is shown, or whose scopes it changes. What the key's owner may do counts for nothing: it
 * may be more tomorrow. A person's own roles are theirs whichever key they ask with, so of their own keys only the scopes count.
 * @param had the scopes of the key before: what it could do already is given by nobody
 * @throws ApiError beyond_own_permissions
 */
export function requireGrantableKey(grant: Grant, key: GivenKey, had?: readonly string[]): void {
  const isOwn = key.ownerUserId !== null && key.ownerUserId === grant.userId
  const mayGive = (scope: Scope): boolean => (isOwn ? keyAllows(grant.scopes, scope) : mayDo(grant, scope))
  const isNew = (scope: Scope): boolean => had === undefined || !keyAllows(had, scope)
  const beyond = allScopes.filter(scope => keyAllows(key.scopes, scope) && isNew(scope) && !mayGive(scope))
  if (beyond.length > 0) throw apiError('beyond_own_permissions', { permissions: shortest(beyond) })
}

/** Without those that others of them imply. */
const shortest = (scopes: readonly Scope[]): Scope[] =>
  scopes.filter(scope => !scopes.some(other => other !== scope && holdsScope([other], scope)))

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
