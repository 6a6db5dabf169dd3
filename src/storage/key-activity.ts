/** What a key was used for, from the usage of its calls and of those of the client secrets that it minted. */
import type { ApiKeyId } from '#contract/ids.ts'
import { type NanoUsd, nanoUsd } from '#core/money.ts'
import { type Queryable, sql } from './database.ts'

export type KeyUse = {
  readonly calls: number
  readonly cost: NanoUsd
  readonly inputTokens: number
  readonly outputTokens: number
  readonly firstUsedAt: Date
  readonly lastUsedAt: Date
}

export type KeyActivity = {
  readonly models: readonly (KeyUse & { readonly name: string })[]
  /** Null: settled before addresses were kept, or gone before anyone looked. */
  readonly addresses: readonly (KeyUse & { readonly name: string | null })[]
}

type Row = {
  name: string | null
  calls: bigint
  cost: bigint
  input_tokens: bigint
  output_tokens: bigint
  first_used_at: Date
  last_used_at: Date
}

/** What is behind these was called less often than all of what is shown. */
const namesMax = 100

const activityBy = (column: 'model' | 'host(client_address)'): string =>
  `select ${column} as name, count(*) as calls, sum(charged_nano_usd)::bigint as cost, sum(input_tokens) as input_tokens,
      sum(output_tokens) as output_tokens, min(occurred_at) as first_used_at, max(occurred_at) as last_used_at
    from usage_events
    where api_key_id in (select $1 union all select id from api_keys where minted_by = $1)
      and occurred_at >= $2 and occurred_at <= $3
    group by 1 order by count(*) desc, 1 limit ${namesMax}`

export async function readKeyActivity(
  database: Queryable,
  key: ApiKeyId,
  { from, to }: { from: Date; to: Date },
): Promise<KeyActivity> {
  const read = (column: Parameters<typeof activityBy>[0]): Promise<Row[]> =>
    database.query<Row>(sql(activityBy(column)), [key, from, to])
  const models = (await read('model')).map(row => ({ ...toUse(row), name: row.name ?? '' }))
  const addresses = (await read('host(client_address)')).map(row => ({ ...toUse(row), name: row.name }))
  return { models, addresses }
}

/** Counts stay far below 2^53; money does not become a float. */
const toUse = (row: Row): KeyUse => ({
  calls: Number(row.calls),
  cost: nanoUsd(row.cost),
  inputTokens: Number(row.input_tokens),
  outputTokens: Number(row.output_tokens),
  firstUsedAt: row.first_used_at,
  lastUsedAt: row.last_used_at,
})
