/** Hard spend limits of organizations and projects, in cents a month. */
import type { OrganizationId, ProjectId } from '#contract/ids.ts'
import { type Queryable, sql } from './database.ts'

type Scope = OrganizationId | ProjectId

/** Undefined: no limit. */
export async function readSpendLimit(database: Queryable, scope: Scope): Promise<number | undefined> {
  const text = 'select threshold_cents from spend_limits where scope_id = $1'
  const [row] = await database.query<{ threshold_cents: bigint }>(sql(text), [scope])
  return row && Number(row.threshold_cents)
}

export async function setSpendLimit(tx: Queryable, scope: Scope, cents: number): Promise<void> {
  const text = `insert into spend_limits (scope_id, threshold_cents) values ($1, $2)
    on conflict (scope_id) do update set threshold_cents = excluded.threshold_cents, updated_at = now()`
  await tx.query(sql(text), [scope, cents])
}

/** False when there was none. */
export async function deleteSpendLimit(tx: Queryable, scope: Scope): Promise<boolean> {
  const text = 'delete from spend_limits where scope_id = $1 returning scope_id'
  return (await tx.query(sql(text), [scope])).length > 0
}
