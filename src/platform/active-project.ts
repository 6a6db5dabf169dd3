/** A project that has to be there, and one that can be changed. */
import { apiError } from '#contract/errors.ts'
import type { Grant } from '#core/grant.ts'
import type { Queryable } from '#storage/database.ts'
import { lockProject, type ProjectRow } from '#storage/projects.ts'

/** @throws ApiError not_found, for one of another organization as for one that never was */
export function existing(row: ProjectRow | undefined): ProjectRow {
  if (!row) throw apiError('not_found', { what: 'project' })
  return row
}

/**
 * The project as it stays until the transaction ends.
 * @throws ApiError not_found; conflict once it is archived, since then it is kept as it was
 */
export async function activeProject(
  tx: Queryable,
  { organizationId }: Pick<Grant, 'organizationId'>,
  id: string,
): Promise<ProjectRow> {
  const project = existing(await lockProject(tx, organizationId, id))
  if (project.archived_at !== null) throw archived(project.id)
  return project
}

const archived = (id: string): Error =>
  apiError('conflict', { message: `Project \`${id}\` is archived and cannot be changed. Use an active project.` })
