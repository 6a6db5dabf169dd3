/** Where keys were found that should have stayed secret. */
import type { ApiKeyId } from '#contract/ids.ts'
import { type Queryable, sql } from './database.ts'

export type LeakReport = {
  readonly keyId: ApiKeyId
  readonly source: string
  /** Null where it was not told. */
  readonly url: string | null
}

/** Of one key: whoever holds it can report it, and must not fill the disk with that. */
const reportsPerKeyMax = 100

/** Is this place news, and is there room to keep it? */
export async function isNewLeak(database: Queryable, { keyId, source, url }: LeakReport): Promise<boolean> {
  const text = `select count(*) filter (where source = $2 and url is not distinct from $3) as same, count(*) as kept
    from leak_reports where api_key_id = $1`
  const [row] = await database.query<{ same: bigint; kept: bigint }>(sql(text), [keyId, source, url])
  return row !== undefined && row.same === 0n && row.kept < reportsPerKeyMax
}

export async function insertLeakReport(
  tx: Queryable,
  report: LeakReport & { readonly id: string; readonly wasLive: boolean },
): Promise<void> {
  const text = 'insert into leak_reports (id, api_key_id, source, url, was_live) values ($1, $2, $3, $4, $5)'
  await tx.query(sql(text), [report.id, report.keyId, report.source, report.url, report.wasLive])
}

/** False when it was disabled or revoked before. */
export async function disableLeakedKey(tx: Queryable, id: ApiKeyId): Promise<boolean> {
  const text = `update api_keys set disabled_at = now(), updated_at = now()
    where id = $1 and disabled_at is null and revoked_at is null returning id`
  return (await tx.query(sql(text), [id])).length > 0
}
