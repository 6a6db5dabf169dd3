/** Giving somebody a role, however it is asked for: by an assignment, or as the role of a membership. */
import { apiError } from '#contract/errors.ts'
import type { Grant } from '#core/grant.ts'
import { requireGrantable } from '#core/granting.ts'
import type { Queryable } from '#storage/database.ts'
import type { ProjectRow } from '#storage/projects.ts'
import { insertAssignment, type Principal, setMembershipRole } from '#storage/role-assignments.ts'
import { lockRole, type RolePlace } from '#storage/roles.ts'
import type { AuditEntry } from './audit-entry.ts'
import { keptId, predefined, type Role, toRole } from './role.ts'

/** Whose it is, and where. */
export type Membership = { readonly place: RolePlace; readonly principal: Principal }
export type Assignment = Membership & { readonly role: Role }

/**
 * The role as it stays until the transaction ends, predefined or not.
 * @throws ApiError not_found; beyond_own_permissions where the caller holds less than the role gives
 */
export async function assignableRole(tx: Queryable, grant: Grant, place: RolePlace, id: string): Promise<Role> {
  const row = await lockRole(tx, place, id)
  const role = row ? toRole(row, place) : predefined(id, place)
  if (!role)
    throw apiError('not_found', { what: `role of this ${place.projectId === null ? 'organization' : 'project'}` })
  requireGrantable(grant, role.permissions)
  return role
}

/** False when the principal has it already. */
export const assign = (tx: Queryable, { place, principal, role }: Assignment): Promise<boolean> =>
  insertAssignment(tx, place, principal, keptId(role.id, place))

/** A membership carries one role. The custom one that it carried goes when it is given another. */
export async function assignToMembership(
  tx: Queryable,
  membership: Membership,
  { role, project }: { readonly role: Role | null; readonly project: ProjectRow | null },
): Promise<AuditEntry[]> {
  const { place, principal } = membership
  const { taken, isNew } = await setMembershipRole(tx, place, principal, role && keptId(role.id, place))
  const entries = taken.map(id => assignmentEntry('deleted', { ...membership, role: { id } }, project))
  return isNew && role ? [...entries, assignmentEntry('created', { ...membership, role }, project)] : entries
}

export function assignmentEntry(
  what: 'created' | 'deleted',
  { place, principal, role }: Membership & { readonly role: Pick<Role, 'id'> },
  project: ProjectRow | null = null,
): AuditEntry {
  return {
    type: `role.assignment.${what}`,
    project,
    resourceId: role.id,
    detail: {
      principal_id: principal.id,
      principal_type: principal.kind,
      resource_id: place.projectId ?? place.organizationId,
      resource_type: place.projectId === null ? 'api.organization' : 'api.project',
    },
  }
}
