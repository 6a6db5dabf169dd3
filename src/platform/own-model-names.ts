/** Lists of models say the models' own names: an alias may stand for another model tomorrow, and the list must not change with it. */
import { apiError } from '#contract/errors.ts'
import type { Queryable } from '#storage/database.ts'
import { firstAlias } from '#storage/models.ts'

/** @throws ApiError invalid_parameter, which names the first alias among them */
export async function checkOwnNames(tx: Queryable, member: string, names: readonly string[]): Promise<void> {
  if (names.length === 0) return
  const alias = await firstAlias(tx, names)
  if (!alias) return
  const param = `${member}[${names.indexOf(alias.alias)}]`
  const message = `Invalid '${param}': \`${alias.alias}\` is an alias. Name the model that it stands for, \`${alias.model}\`.`
  throw apiError('invalid_parameter', { param, message, code: 'invalid_value' })
}
