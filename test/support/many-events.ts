/** Usage events in numbers, straight into the table: for tests and benches of what is added up from them. */
import { type Queryable, sql } from '#storage/database.ts'

export type ManyEvents = {
  readonly organizationId: string
  readonly count: number
  /** Spread evenly over this stretch; seconds since 1970. */
  readonly from: number
  readonly to: number
  readonly projects: number
  readonly keys: number
  readonly models: number
  /** Makes different events of the same numbers. */
  readonly seed: number
  /** A table like that of the events. */
  readonly into?: string
}

const insertInto = (table: string) =>
  sql(`
  insert into ${table} (id, occurred_at, request_id, organization_id, project_id, api_key_id, user_id, endpoint, model,
    provider, upstream_model, outcome, estimated, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, price_id,
    lease_id, charged_nano_usd, overrun_nano_usd, duration_ms, first_byte_ms, client_address, cache_write_tokens,
    audio_input_tokens, cached_audio_input_tokens, image_input_tokens, audio_output_tokens, tool_calls, service_tier)
  select (lpad(to_hex((r.at * 1000)::bigint), 12, '0') || left(r.digest, 20))::uuid, to_timestamp(r.at), 'req_' || r.digest, $1, 'proj_' || $1 || r.key % $5::integer, 'key_' || $1 || r.key,
    case when r.key % 7 = 0 then null else 'user-' || r.key % 3 end,
    case when r.h % 11 = 0 then 'embeddings' else 'chat.completions' end, 'model-' || (r.key + r.h / 13 % 3) % $7::integer,
    'fake', 'model', 'complete', r.h % 17 = 0, 50 + r.h % 2000, case when r.h % 3 = 0 then r.h % 50 else 0 end, r.h % 500, 0,
    null, null, 1000 + r.h % 90000, case when r.h % 1009 = 0 then 5 else 0 end, 10 + r.h % 3000, r.h % 900, '10.0.0.1',
    case when r.h % 5 = 0 then 7 end, case when r.h % 19 = 0 then 20 end, case when r.h % 38 = 0 then 3 end,
    case when r.h % 23 = 0 then 9 end, case when r.h % 19 = 0 then 4 end,
    case when r.h % 29 = 0 then '{"web_search":2}'::jsonb end,
    case when r.h % 31 = 0 then 'batch' when r.h % 37 = 0 then 'flex' end
  from (
    select n, h, h % $6::integer as key, md5($1 || ' ' || $8 || ' ' || n) as digest,
      $2::float8 + (n + 0.5) * ($3::float8 - $2::float8) / $4::integer as at
    from generate_series(0, $4::integer - 1) n, lateral (select abs(hashint8(n + $8::bigint * 1000003)) as h) hashed
  ) r`)

export async function insertManyEvents(database: Queryable, events: ManyEvents): Promise<void> {
  const { organizationId, count, from, to, projects, keys, models, seed, into = 'usage_events' } = events
  await database.query(insertInto(into), [organizationId, from, to, count, projects, keys, models, seed])
}
