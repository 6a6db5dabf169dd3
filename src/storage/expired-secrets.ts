/** Client secrets that are long dead. */
import { type Queryable, sql } from './database.ts'

/**
 * Expired for more than a day. What one spent counts in the budget of the key that minted it, and is found by this row: one
 * that was used stays while a period could still begin before, and for ever where the budget is for all time. So does one
 * that something else refers to.
 */
const deleteSome = sql(`delete from api_keys where id in (
  select k.id from api_keys k
  where k.minted_by is not null and k.expires_at < now() - interval '1 day'
    and (k.last_used_at is null
      or k.last_used_at < now() - interval '40 days' and k.last_used_at < (select before from usage_dropped)
        and not exists (select from key_budgets t where t.key_id = coalesce(k.budget_key_id, k.id) and t.period = 'total'))
    and not exists (select from leak_reports r where r.api_key_id = k.id)
    and not exists (select from key_budgets b where b.key_id = k.id)
    and not exists (select from api_keys o where o.rotated_from = k.id or o.backup_of = k.id or o.minted_by = k.id)
  order by k.expires_at limit $1 for update skip locked) returning id`)

export async function deleteExpiredSecrets(database: Queryable, most: number): Promise<number> {
  return (await database.query(deleteSome, [most])).length
}
