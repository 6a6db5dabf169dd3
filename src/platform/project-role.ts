/** The role of a membership in a project, as callers name it. */
import { apiError } from '#contract/errors.ts'
import type { Grant } from '#core/grant.ts'
import { requireGrantable } from '#core/granting.ts'
import { type ProjectRole, projectPermissions } from '#core/roles.ts'
import type { Queryable } from '#storage/database.ts'
import type { ProjectRow } from '#storage/projects.ts'
import { assignableRole } from './assign-role.ts'
import { predefined, type Role } from './role.ts'

export type GivenRole = {
  readonly role: ProjectRole
  /** A custom role, which is assigned beside a membership that gives nothing itself. */
  readonly custom: Role | null
}

const byName: ReadonlySet<string> = new Set<ProjectRole>(['owner', 'member', 'viewer', 'none'])
// Checked by the set above, which holds these alone
const isProjectRole = (name: string): name is ProjectRole => byName.has(name)

/**
 * @param given `owner`, `member`, `viewer`, `none`, or the id of a predefined or custom role of the project
 * @throws ApiError not_found; beyond_own_permissions where the caller holds less than the role gives
 */
export async function givenProjectRole(
  tx: Queryable,
  { grant, project, given }: { grant: Grant; project: ProjectRow; given: string },
): Promise<GivenRole> {
  const place = { organizationId: grant.organizationId, projectId: project.id }
  const name = predefined(given, place)?.name ?? given
  if (isProjectRole(name)) {
    requireGrantable(grant, projectPermissions(name))
    return { role: name, custom: null }
  }
  if (!name.startsWith('role')) throw noSuchRole(name)
  return { role: 'none', custom: await assignableRole(tx, grant, place, name) }
}

const noSuchRole = (name: string): Error =>
  apiError('invalid_parameter', {
    param: 'role',
    message: `Invalid 'role': expected owner, member, viewer, none or the id of a role, but got '${name.slice(0, 60)}' instead.`,
  })
