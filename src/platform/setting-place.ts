/** Settings that an organization and each of its projects can have: whose they are, and how a change of them is told. */
import type { OrganizationId, ProjectId } from '#contract/ids.ts'
import type { Grant } from '#core/grant.ts'
import type { AuthSubject } from '#storage/auth-events.ts'
import type { Queryable } from '#storage/database.ts'
import { findProject, type ProjectRow } from '#storage/projects.ts'
import { activeProject, existing } from './active-project.ts'
import type { AuditEntry } from './audit-entry.ts'
import type { Source } from './change.ts'

export type Place = { readonly id: OrganizationId | ProjectId; readonly project: ProjectRow | null }

/** Who changes settings: always somebody with a key. */
export type KeyCaller = { readonly grant: Grant; readonly source: Source }

type Params = { readonly project_id?: string }

/** @throws ApiError not_found for a project that is not there */
export async function readPlace(database: Queryable, grant: Grant, { project_id }: Params): Promise<Place> {
  if (project_id === undefined) return { id: grant.organizationId, project: null }
  const project = existing(await findProject(database, grant.organizationId, project_id))
  return { id: project.id, project }
}

/** @throws ApiError not_found for a project that is not there, conflict for an archived one */
export async function changePlace(tx: Queryable, grant: Grant, { project_id }: Params): Promise<Place> {
  if (project_id === undefined) return { id: grant.organizationId, project: null }
  const project = await activeProject(tx, grant, project_id)
  return { id: project.id, project }
}

/** OpenAI has no event types for single settings: they are updates of what they belong to. */
export const settingChanged = (
  { id, project }: Place,
  changes_requested: Readonly<Record<string, unknown>>,
): AuditEntry => ({
  type: project ? 'project.updated' : 'organization.updated',
  project,
  resourceId: id,
  detail: { changes_requested },
})

/** Whose grants carry the setting. */
export const placeAffected = ({ id, project }: Place): readonly [AuthSubject, string] => [
  project ? 'project' : 'organization',
  id,
]
