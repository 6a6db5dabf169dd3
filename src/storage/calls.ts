/**
 * The call log: every settled call, newest first, for as long as events are kept.
 *
 * What is asked for may be rare among millions, so it is looked for stretch by stretch, backwards, each a statement over a few
 * partitions; and no longer than a page may take. A page can then be short, or empty, and still say where to go on.
 */
import type { OrganizationId } from '#contract/ids.ts'
import { type Queryable, sql } from './database.ts'
import type { Outcome } from './usage.ts'

export type CallFilter = {
  readonly projectIds?: readonly string[] | undefined
  readonly apiKeyIds?: readonly string[] | undefined
  readonly userIds?: readonly string[] | undefined
  readonly models?: readonly string[] | undefined
  readonly providers?: readonly string[] | undefined
  readonly endpoints?: readonly string[] | undefined
  readonly outcomes?: readonly string[] | undefined
  readonly requestId?: string | undefined
  readonly estimated?: boolean | undefined
  readonly chargedNanoUsdMin?: bigint | undefined
  readonly durationMsMin?: number | undefined
  /** Seconds since 1970, inclusive and exclusive. */
  readonly from?: number | undefined
  readonly to?: number | undefined
}

/** A place in the log: what comes behind it is older. Microseconds since 1970; calls of one moment are told apart by id. */
export type CallPlace = { readonly micros: bigint; readonly id: string }

export type CallRow = {
  readonly id: string
  readonly micros: bigint
  readonly request_id: string
  readonly project_id: string
  readonly api_key_id: string
  readonly user_id: string | null
  readonly endpoint: string
  readonly model: string
  readonly provider: string
  readonly upstream_model: string
  readonly outcome: Outcome
  readonly estimated: boolean
  readonly service_tier: string | null
  readonly input_tokens: number
  readonly cached_input_tokens: number
  readonly cache_write_tokens: number | null
  readonly output_tokens: number
  readonly reasoning_tokens: number
  readonly audio_input_tokens: number | null
  readonly audio_output_tokens: number | null
  readonly image_input_tokens: number | null
  readonly image_output_tokens: number | null
  readonly tool_calls: Readonly<Record<string, number>> | null
  readonly charged_nano_usd: bigint
  readonly overrun_nano_usd: bigint
  readonly duration_ms: number
  readonly first_byte_ms: number | null
  readonly client_address: string | null
}

const columns = `e.id, (extract(epoch from e.occurred_at) * 1000000)::bigint as micros, e.request_id, e.project_id,
  e.api_key_id, e.user_id, e.endpoint, e.model, e.provider, e.upstream_model, e.outcome, e.estimated, e.service_tier,
  e.input_tokens, e.cached_input_tokens, e.cache_write_tokens, e.output_tokens, e.reasoning_tokens, e.audio_input_tokens,
  e.audio_output_tokens, e.image_input_tokens, e.image_output_tokens, e.tool_calls, e.charged_nano_usd, e.overrun_nano_usd,
  e.duration_ms, e.first_byte_ms, host(e.client_address) as client_address`

export type CallQuestion = {
  readonly organizationId: OrganizationId
  readonly filter: CallFilter
  readonly after: CallPlace | undefined
  readonly limit: number
  /** Milliseconds since 1970. */
  readonly wallClock: () => number
}

/** @returns calls, and the place behind which the log goes on; undefined at its end */
export type CallPage = { readonly calls: readonly CallRow[]; readonly next: CallPlace | undefined }

/** How long one page may look for calls, but for the statement that it is in. */
const searchMsMax = 1_000
const hourMicros = 3_600_000_000n
/** Of a busy organization this is a second's work. */
const stretchMicrosMax = 96n * hourMicros
/** Statements faster than this look further the next time, and slower ones not so far. */
const fastMs = 50
const slowMs = 200
/** No id is below it, so this is the place before all calls of a moment. */
export const lowestId = '00000000-0000-0000-0000-000000000000'

export async function listCalls(database: Queryable, question: CallQuestion): Promise<CallPage> {
  const { filter, after, limit, wallClock } = question
  if (filter.requestId !== undefined) return { calls: await search(database, question, {}), next: undefined }
  const startedAtMs = wallClock()
  const calls: CallRow[] = []
  let stretch = hourMicros
  // The newest may be a little ahead of this node's clock
  let place = after
  let from = (after?.micros ?? topOf(question)) - stretch
  for (;;) {
    const lookedAtMs = wallClock()
    const found = await search(database, question, { from, before: place, limit: limit + 1 - calls.length })
    calls.push(...found)
    if (calls.length > limit) return { calls: calls.slice(0, limit), next: placeOf(calls[limit - 1]) }
    if (filter.from !== undefined && from <= BigInt(filter.from) * 1_000_000n) return { calls, next: undefined }
    // Over a time without calls in one step
    const top = found.length > 0 ? from : await newestBefore(database, question.organizationId, from)
    if (top === undefined) return { calls, next: undefined }
    place = { micros: top, id: lowestId }
    if (wallClock() - startedAtMs > searchMsMax) return { calls, next: place }
    const tookMs = wallClock() - lookedAtMs
    if (tookMs < fastMs && stretch < stretchMicrosMax) stretch *= 2n
    if (tookMs > slowMs && stretch > hourMicros) stretch /= 2n
    from = top - stretch
  }
}

const topOf = ({ filter, wallClock }: CallQuestion): bigint =>
  filter.to === undefined ? BigInt(wallClock()) * 1_000n : BigInt(filter.to) * 1_000_000n

const placeOf = (row: CallRow | undefined): CallPlace | undefined => row && { micros: row.micros, id: row.id }

/** One call by the id that its answer carried. */
export async function findCall(
  database: Queryable,
  organization: OrganizationId,
  requestId: string,
): Promise<CallRow | undefined> {
  const text = `select ${columns} from usage_events e where e.request_id = $1 and e.organization_id = $2
    order by e.occurred_at desc limit 1`
  const [row] = await database.query<CallRow>(sql(text), [requestId, organization])
  return row
}

/** Just behind the newest call that is older than this; undefined where there is none. */
async function newestBefore(
  database: Queryable,
  organization: OrganizationId,
  micros: bigint,
): Promise<bigint | undefined> {
  const text = `select (extract(epoch from max(occurred_at)) * 1000000)::bigint + 1 as micros from usage_events
    where organization_id = $1 and occurred_at < ${moment('$2')}`
  const [row] = await database.query<{ micros: bigint | null }>(sql(text), [organization, micros])
  return row?.micros ?? undefined
}

type Stretch = { readonly from?: bigint; readonly before?: CallPlace | undefined; readonly limit?: number }

function search(database: Queryable, question: CallQuestion, stretch: Stretch): Promise<CallRow[]> {
  const values: unknown[] = [question.organizationId]
  const give = (value: unknown): string => `$${values.push(value)}`
  const conditions = [...within(question.filter, stretch, give), ...matching(question.filter, give)]
  const text = `select ${columns} from usage_events e
    where ${['e.organization_id = $1', ...conditions].join(' and ')}
    order by e.occurred_at desc, e.id desc limit ${give(stretch.limit ?? question.limit)}`
  return database.query<CallRow>(sql(text), values)
}

type Give = (value: unknown) => string

const moment = (micros: string): string => `(timestamptz 'epoch' + ${micros}::bigint * interval '1 microsecond')`

function within({ from, to }: CallFilter, stretch: Stretch, give: Give): string[] {
  const conditions: string[] = []
  if (stretch.from !== undefined) conditions.push(`e.occurred_at >= ${moment(give(stretch.from))}`)
  if (from !== undefined) conditions.push(`e.occurred_at >= to_timestamp(${give(from)})`)
  if (to !== undefined) conditions.push(`e.occurred_at < to_timestamp(${give(to)})`)
  if (stretch.before) {
    const at = moment(give(stretch.before.micros))
    // The first of the two is what partitions are chosen by
    conditions.push(`e.occurred_at <= ${at} and (e.occurred_at, e.id) < (${at}, ${give(stretch.before.id)}::uuid)`)
  }
  return conditions
}

const lists = {
  projectIds: 'project_id',
  apiKeyIds: 'api_key_id',
  userIds: 'user_id',
  models: 'model',
  providers: 'provider',
  endpoints: 'endpoint',
  outcomes: 'outcome',
} as const satisfies Partial<Record<keyof CallFilter, string>>

function matching(filter: CallFilter, give: Give): string[] {
  const conditions = Object.entries(lists).flatMap(([name, column]) => {
    const values = filter[name as keyof typeof lists]
    return values === undefined ? [] : [`e.${column} = any (${give(values)}::text[])`]
  })
  if (filter.requestId !== undefined) conditions.push(`e.request_id = ${give(filter.requestId)}`)
  if (filter.estimated !== undefined) conditions.push(`e.estimated = ${give(filter.estimated)}`)
  if (filter.chargedNanoUsdMin !== undefined) conditions.push(`e.charged_nano_usd >= ${give(filter.chargedNanoUsdMin)}`)
  if (filter.durationMsMin !== undefined) conditions.push(`e.duration_ms >= ${give(filter.durationMsMin)}`)
  return conditions
}
