/** The project key that a request names, and whom a change to it concerns. */
import { type ApiError, apiError } from '#contract/errors.ts'
import type { ProjectId } from '#contract/ids.ts'
import type { Grant } from '#core/grant.ts'
import { type ApiKeyRow, findApiKey, type KeyPlace, lockApiKey } from '#storage/api-keys.ts'
import type { AuthSubject } from '#storage/auth-events.ts'
import type { Queryable } from '#storage/database.ts'
import { hasDependents } from '#storage/key-successors.ts'
import { findProject, lockProject, type ProjectRow } from '#storage/projects.ts'
import { existing } from './projects.ts'

export type ProjectPlace = KeyPlace & { readonly projectId: ProjectId; readonly project: ProjectRow }

/** @throws ApiError not_found */
export async function placeOf(
  database: Queryable,
  { organizationId }: Grant,
  projectId: string,
): Promise<ProjectPlace> {
  const project = existing(await findProject(database, organizationId, projectId))
  return { organizationId, projectId: project.id, project }
}

/** A project that takes new keys, and goes on to until the transaction ends. @throws ApiError not_found, conflict */
export async function openPlace(tx: Queryable, { organizationId }: Grant, id: string): Promise<ProjectPlace> {
  const project = existing(await lockProject(tx, organizationId, id))
  if (project.archived_at !== null) throw archived(project)
  return { organizationId, projectId: project.id, project }
}

const archived = ({ id }: ProjectRow): ApiError =>
  conflict(`Project \`${id}\` is archived and takes no new keys. Use an active project.`)

export async function existingKey(database: Queryable, place: KeyPlace, id: string): Promise<ApiKeyRow> {
  const row = await findApiKey(database, place, id)
  if (!row) throw noSuchKey()
  return row
}

/** For a change: locked, not expired, and no client secret. @throws ApiError not_found, conflict */
export async function changeableKey(tx: Queryable, place: KeyPlace, id: string, nowMs: number): Promise<ApiKeyRow> {
  const row = await lockApiKey(tx, place, id)
  if (!row) throw noSuchKey()
  if (row.minted_by !== null) {
    throw conflict(`${id} is a client secret: it stays as it was minted. Delete it, and mint another one.`)
  }
  if (isExpired(row, nowMs)) throw conflict(`The API key ${id} has expired and cannot be changed. Create another one.`)
  return row
}

export const isExpired = ({ expires_at: at }: ApiKeyRow, nowMs: number): boolean => at !== null && at.getTime() <= nowMs

export const noSuchKey = (): ApiError => apiError('not_found', { what: 'API key in this project' })
export const conflict = (message: string): ApiError => apiError('conflict', { message })

export type Affected = readonly (readonly [kind: AuthSubject, id: string])[]

/** The key, and with it those that live by it: they all are in its project. To be asked once the key is locked, before the change. */
export const affectedBy = async (tx: Queryable, projectId: ProjectId, keyId: string): Promise<Affected> =>
  (await hasDependents(tx, keyId)) ? [['project', projectId]] : [['api_key', keyId]]
