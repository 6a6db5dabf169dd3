/** Budgets of keys, each kept under the first of the keys that replaced one another. */
import type { ApiKeyId } from '#contract/ids.ts'
import { type NanoUsd, nanoUsd } from '#core/money.ts'
import type { Period } from '#core/spending.ts'
import { type Queryable, sql } from './database.ts'

export type KeyBudget = { readonly limit: NanoUsd; readonly period: Period }

/** Undefined: it has none. */
export async function readKeyBudget(database: Queryable, firstKey: ApiKeyId): Promise<KeyBudget | undefined> {
  const text = 'select limit_nano_usd as most, period from key_budgets where key_id = $1'
  const [row] = await database.query<{ most: bigint; period: Period }>(sql(text), [firstKey])
  return row && { limit: nanoUsd(row.most), period: row.period }
}

/**
 * The lock that settling takes too, until the transaction ends. To be asked before any key is locked: settling holds this
 * one when it comes to the keys.
 */
export async function lockBudgets(tx: Queryable): Promise<void> {
  await tx.query(sql('select lock_key_budgets()'))
}

/** What the key has spent in the period stands. */
export async function setKeyBudget(tx: Queryable, key: ApiKeyId, { limit, period }: KeyBudget): Promise<void> {
  await tx.query(sql('select set_key_budget($1, $2, $3)'), [key, limit, period])
}

/** False when it had none. */
export async function deleteKeyBudget(tx: Queryable, firstKey: ApiKeyId): Promise<boolean> {
  const text = 'delete from key_budgets where key_id = $1 returning key_id'
  return (await tx.query(sql(text), [firstKey])).length > 0
}
