/** Usage as if calls had been made: rows without their money, for tests of what is read of them. */
import { type Database, sql } from '#storage/database.ts'

export type TestUsage = {
  readonly apiKeyId: string
  readonly at: Date
  readonly address?: string | null
  readonly model?: string
  readonly chargedNanoUsd?: bigint
}

const insert = sql(`insert into usage_events
  select gen_random_uuid(), $2, 'req_test', k.organization_id, coalesce(k.project_id, ''), k.id, k.owner_user_id,
    'chat_completions', $4, 'upstream', $4, 'complete', false, 10, 0, 5, 0, null, null, $5, 0, 20, null, $3::inet
  from api_keys k where k.id = $1`)

export async function insertUsage(database: Database, usage: TestUsage): Promise<void> {
  const { apiKeyId, at, address = null, model = 'm', chargedNanoUsd = 0n } = usage
  await database.query(insert, [apiKeyId, at, address, model, chargedNanoUsd])
}
