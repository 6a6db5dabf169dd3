/** A model that has to be there. */
import { apiError } from '#contract/errors.ts'
import type { Queryable } from '#storage/database.ts'
import { findModel, type ModelRow } from '#storage/models.ts'

const shownMax = 200

export const noSuchModel = (name: string): Error =>
  apiError('not_found', { what: `model: \`${name.slice(0, shownMax)}\`` })

export async function existingModel(database: Queryable, name: string): Promise<ModelRow> {
  const row = await findModel(database, name)
  if (!row) throw noSuchModel(name)
  return row
}
