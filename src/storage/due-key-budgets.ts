/** Keys that have spent so much of their budget that somebody is to be told. */
import type { ApiKeyId, OrganizationId } from '#contract/ids.ts'
import { type Queryable, sql } from './database.ts'

export type DueKeyBudget = {
  id: ApiKeyId
  name: string
  redacted: string
  organization_id: OrganizationId
  project_name: string | null
  owner_email: string | null
  period: string
  starts_at: Date
  spent: bigint
  budget: bigint
  /** The highest of the steps that is reached. */
  percent: number
}

/** The budget is that of the first key; who is told of is the newest of those that share it. */
const dueBudgets = sql(`select newest.id, newest.name, newest.redacted, newest.organization_id, p.name as project_name,
    u.email as owner_email, b.period, w.starts_at, w.spent_nano_usd as spent, b.limit_nano_usd as budget, step.percent
  from key_budgets b
    join spend_windows w on w.scope_id = b.key_id and w.period = b.period
      and w.starts_at = window_start(b.period, now())
    cross join lateral (select max(s) as percent from unnest($1::integer[]) as s
      where w.spent_nano_usd > 0 and w.spent_nano_usd >= b.limit_nano_usd::numeric * s / 100) step
    cross join lateral (select k.* from api_keys k
      where (k.id = b.key_id or k.budget_key_id = b.key_id) and k.minted_by is null and k.revoked_at is null
      order by k.created_at desc, k.id limit 1) newest
    left join projects p on p.id = newest.project_id
    left join users u on u.id = newest.owner_user_id and u.removed_at is null
  where step.percent is not null
    and not exists (select from key_budget_notices n where n.key_id = b.key_id and n.period = b.period
      and n.starts_at = w.starts_at and n.percent >= step.percent)
  limit $2`)

export function findDueKeyBudgets(
  database: Queryable,
  steps: readonly number[],
  most: number,
): Promise<DueKeyBudget[]> {
  return database.query<DueKeyBudget>(dueBudgets, [steps, most])
}

/** False when somebody else has told of it. */
export async function keepBudgetNotice(
  tx: Queryable,
  { id, period, starts_at, percent }: DueKeyBudget,
): Promise<boolean> {
  const text = `insert into key_budget_notices (key_id, period, starts_at, percent)
    select coalesce(budget_key_id, id), $2, $3, $4 from api_keys where id = $1
    on conflict do nothing returning key_id`
  return (await tx.query(sql(text), [id, period, starts_at, percent])).length > 0
}

/** Of periods that are over, but those without an end. */
export async function deleteOldBudgetNotices(database: Queryable): Promise<number> {
  const text = `delete from key_budget_notices where period <> 'total' and starts_at < now() - interval '40 days'
    returning key_id`
  return (await database.query(sql(text))).length
}
