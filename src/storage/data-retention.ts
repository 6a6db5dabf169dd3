/** Data retention of organizations and projects. No row: nobody has chosen. */
import type { OrganizationRetention, ProjectRetention } from '#contract/data-retention.ts'
import type { OrganizationId, ProjectId } from '#contract/ids.ts'
import { type Queryable, sql } from './database.ts'

type RetentionOf<Scope> = Scope extends ProjectId ? ProjectRetention : OrganizationRetention

export async function readRetention<Scope extends OrganizationId | ProjectId>(
  database: Queryable,
  scope: Scope,
): Promise<RetentionOf<Scope> | undefined> {
  const text = 'select retention_type from data_retention where scope_id = $1'
  const [row] = await database.query<{ retention_type: RetentionOf<Scope> }>(sql(text), [scope])
  return row?.retention_type
}

export async function setRetention<Scope extends OrganizationId | ProjectId>(
  tx: Queryable,
  scope: Scope,
  type: RetentionOf<Scope>,
): Promise<void> {
  const text = `insert into data_retention (scope_id, retention_type) values ($1, $2)
    on conflict (scope_id) do update set retention_type = excluded.retention_type, updated_at = now()`
  await tx.query(sql(text), [scope, type])
}
