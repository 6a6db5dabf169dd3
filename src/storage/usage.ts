/** The journal's way into the database, and what people read of it. */
import type { UsageColumns } from '#core/usage.ts'
import { type Database, prepared, sql } from './database.ts'

/** One call, as the journal keeps it; columns of `usage_events`, null where they are left out. Money is decimal text, since JSON numbers are floats. */
export type UsageRecord = Partial<UsageColumns> & {
  readonly id: string
  readonly occurred_at: string
  readonly request_id: string
  readonly organization_id: string
  readonly project_id: string
  readonly api_key_id: string
  readonly user_id: string | null
  readonly endpoint: string
  readonly model: string
  readonly provider: string
  readonly upstream_model: string
  readonly outcome: Outcome
  readonly estimated: boolean
  readonly input_tokens: number
  readonly cached_input_tokens: number
  readonly output_tokens: number
  readonly reasoning_tokens: number
  readonly price_id: string | null
  /** The lease on credit, and those on spend limits, that the call was held against. */
  readonly lease_id: string | null
  readonly limit_lease_ids?: readonly string[] | null
  readonly charged_nano_usd: string
  readonly overrun_nano_usd: string
  readonly duration_ms: number
  readonly first_byte_ms: number | null
  /** From where the call came; null where the connection was gone before anyone looked. */
  readonly client_address: string | null
}

/** How a call ended: whole, or cut by the client, by the provider, because its key lost the right to it, or by our own shutdown. */
export type Outcome = 'complete' | 'client_left' | 'upstream_cut' | 'revoked' | 'shutdown'

const settleUsage = prepared('settle_usage', 'select settle_usage($1::json)')

/**
 * Delivers a batch in one transaction. When the database refuses the batch for what is in it, each record is tried by
 * itself, so that one bad record cannot hold up the others.
 * @param onRejected keeps a record that the database will never take; it must not return before that is safe
 */
export async function settleUsageRecords(
  database: Database,
  records: readonly string[],
  onRejected: (record: string, cause: unknown) => Promise<void>,
): Promise<void> {
  try {
    await database.query(settleUsage, [`[${records.join(',')}]`])
  } catch (error) {
    if (!isAboutContent(error)) throw error
    if (records.length === 1) return onRejected(records[0] ?? '', error)
    for (const record of records) await settleUsageRecords(database, [record], onRejected)
  }
}

/** SQLSTATE classes 22 (data exception) and 23 (integrity constraint violation). */
function isAboutContent(error: unknown): boolean {
  const code = (error as { code?: unknown }).code
  return typeof code === 'string' && /^2[23]/.test(code)
}

const daysAhead = 3

/** Makes today's partition and the next days', so that no call ever has to. */
export async function ensureUsagePartitions(database: Database, now: Date): Promise<void> {
  for (let day = 0; day <= daysAhead; day += 1) {
    const date = new Date(now.getTime() + day * 86_400_000).toISOString().slice(0, 10)
    await database.query(sql('select ensure_usage_partition($1::date)'), [date])
  }
}
