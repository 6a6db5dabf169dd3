/** Usage records as they were charged, in the order of their ids, a page at a time: one page is all that is ever in memory. */
import type { UsageRow } from '#core/usage.ts'
import { prepared, type Queryable } from './database.ts'

export type ChargedRow = UsageRow & {
  id: string
  occurred_at: Date
  model: string
  price_id: bigint | null
  charged_nano_usd: bigint
  overrun_nano_usd: bigint
}

/** Inclusive, and exclusive. */
export type Span = { readonly from: Date; readonly to: Date }

// By the primary key of each day's partition, which begins with the id
const chargedPage = prepared(
  'usage_recompute_page',
  `select id, occurred_at, model, price_id, charged_nano_usd, overrun_nano_usd, input_tokens, cached_input_tokens,
     output_tokens, reasoning_tokens, cache_write_tokens, cache_write_1h_tokens, audio_input_tokens,
     cached_audio_input_tokens, image_input_tokens, cached_image_input_tokens, audio_output_tokens, image_output_tokens,
     tool_calls, service_tier
   from usage_events where occurred_at >= $1 and occurred_at < $2 and id > $3 order by id limit $4`,
)

const beforeAll = '00000000-0000-0000-0000-000000000000'

export function readCharged(
  database: Queryable,
  { from, to }: Span,
  after: string | undefined,
  limit: number,
): Promise<ChargedRow[]> {
  return database.query<ChargedRow>(chargedPage, [from, to, after ?? beforeAll, limit])
}
