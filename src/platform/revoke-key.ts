/** Ends a project's key: with its client secrets, and so that its backup key wakes. */
import { type ApiKeyRow, lockApiKey, revokeApiKey } from '#storage/api-keys.ts'
import type { Queryable } from '#storage/database.ts'
import { type Affected, affectedBy, noSuchKey, type ProjectPlace } from './existing-key.ts'

/** @throws ApiError not_found */
export async function revokeKey(
  tx: Queryable,
  place: ProjectPlace,
  id: string,
  reason?: string,
): Promise<{ row: ApiKeyRow; affects: Affected }> {
  // The lock comes first: a client secret that is being minted is either seen here, or finds its key revoked
  const row = await lockApiKey(tx, place, id)
  if (!row) throw noSuchKey()
  const affects = await affectedBy(tx, place.projectId, id)
  await revokeApiKey(tx, place, id, reason)
  return { row, affects }
}
