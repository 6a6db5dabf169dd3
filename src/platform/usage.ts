/** Usage and costs, in buckets of time. */
import { apiError } from '#contract/errors.ts'
import type { OrganizationId } from '#contract/ids.ts'
import { bucketWidths, costBuckets, type usage } from '#contract/usage.ts'
import { nanoUsd, usdNumber } from '#core/money.ts'
import {
  readUsage,
  type UsageDimension,
  type UsageFilters,
  type UsageMeasure,
  type UsageSum,
  usageDimensions,
} from '#storage/usage-queries.ts'
import type { Handlers } from './handler.ts'
import type { PlatformParts } from './platform.ts'
import { type Bucket, bucketsOf, nextPage } from './usage-buckets.ts'

/** As usage records name them. */
const completionEndpoints = ['chat.completions', 'completions']
const embeddingEndpoints = ['embeddings']

export const usageHandlers: Handlers<typeof usage> = {
  completions(parts, { grant, query }) {
    const asked = { ...ask(grant.organizationId, query, completionEndpoints), measures: completionMeasures }
    return page(parts, asked, completionsResult)
  },

  embeddings(parts, { grant, query }) {
    const measures = ['requests', 'input_tokens'] as const
    return page(parts, { ...ask(grant.organizationId, query, embeddingEndpoints), measures }, embeddingsResult)
  },

  codeInterpreterSessions(parts, { grant, query }) {
    const tool = { measures: ['code_interpreter_calls'], having: 'code_interpreter_calls' } as const
    return page(parts, { ...ask(grant.organizationId, query), ...tool }, codeInterpreterResult)
  },

  fileSearchCalls(parts, { grant, query }) {
    const tool = { measures: ['file_search_calls'], having: 'file_search_calls' } as const
    return page(parts, { ...ask(grant.organizationId, query), ...tool }, fileSearchResult)
  },

  webSearchCalls(parts, { grant, query }) {
    const tool = { measures: ['web_search_calls', 'web_search_requests'], having: 'web_search_calls' } as const
    return page(parts, { ...ask(grant.organizationId, query), ...tool }, webSearchResult)
  },

  // No call of these kinds can have been made
  moderations: async (parts, { grant, query }) => nothing(parts, ask(grant.organizationId, query)),
  images: async (parts, { grant, query }) => nothing(parts, ask(grant.organizationId, query)),
  audioSpeeches: async (parts, { grant, query }) => nothing(parts, ask(grant.organizationId, query)),
  audioTranscriptions: async (parts, { grant, query }) => nothing(parts, ask(grant.organizationId, query)),
  vectorStores: async (parts, { grant, query }) => nothing(parts, ask(grant.organizationId, query)),
  decisions: async (parts, { grant, query }) => nothing(parts, ask(grant.organizationId, query)),

  costs(parts, { grant: { organizationId }, query }) {
    const { project_ids, user_ids, api_key_ids, line_items: models } = query
    const costs = { ...query, group_by: query.group_by?.map(columnOfCosts), project_ids, user_ids, api_key_ids, models }
    const measures = ['charged_nano_usd', 'input_tokens', 'output_tokens'] as const
    return page(parts, { ...ask(organizationId, costs, undefined, costBuckets), measures }, costsResult)
  },
}

/** A line item is a model. */
export const columnOfCosts = <Group extends string>(group: Group | 'line_item'): Group | 'model' =>
  group === 'line_item' ? 'model' : group

type UsageQuery = {
  readonly start_time: number
  readonly end_time?: number | undefined
  readonly page?: string | undefined
  readonly limit?: number | undefined
  readonly bucket_width: keyof typeof bucketWidths
  readonly group_by?: readonly string[] | undefined
  readonly batch?: boolean | undefined
} & FilterQuery

export type FilterQuery = {
  readonly project_ids?: string[] | undefined
  readonly user_ids?: string[] | undefined
  readonly api_key_ids?: string[] | undefined
  readonly models?: string[] | undefined
}

type Asked = {
  readonly organizationId: OrganizationId
  readonly groupBy: readonly UsageDimension[]
  readonly filters: UsageFilters
  readonly start: number
  readonly end: number | undefined
  readonly page: string | undefined
  readonly limit: number
  readonly bucketSeconds: number
}

type Counted<Measure extends UsageMeasure> = Asked & {
  readonly measures: readonly Measure[]
  readonly having?: Measure
}

type Width = { readonly seconds: number; readonly limitDefault: number; readonly limitMax: number }

function ask(
  organizationId: OrganizationId,
  query: UsageQuery,
  endpoints?: readonly string[],
  width: Width = bucketWidths[query.bucket_width],
): Asked {
  return {
    organizationId,
    groupBy: usageDimensions.filter(dimension => query.group_by?.includes(dimension)),
    filters: { ...filtersOf(query), endpoint: endpoints, batch: query.batch },
    start: query.start_time,
    end: query.end_time,
    page: query.page,
    limit: checkedLimit(query.limit ?? width.limitDefault, width, query.bucket_width),
    bucketSeconds: width.seconds,
  }
}

export const filtersOf = (query: FilterQuery): UsageFilters => ({
  project_id: query.project_ids,
  user_id: query.user_ids,
  api_key_id: query.api_key_ids,
  model: query.models,
})

function checkedLimit(limit: number, { limitMax }: Width, name: string): number {
  if (limit <= limitMax) return limit
  const message = `Invalid 'limit': with bucket_width ${name} it is at most ${limitMax}.`
  throw apiError('invalid_parameter', { param: 'limit', message, code: 'invalid_value' })
}

async function page<Measure extends UsageMeasure, Result>(
  { database, wallClock }: PlatformParts,
  asked: Counted<Measure>,
  toResult: (sum: UsageSum<Measure>) => Result,
) {
  const now = Math.ceil(wallClock() / 1000)
  const { buckets, end } = bucketsAsked(asked, now)
  const [first, last] = [buckets[0], buckets.at(-1)]
  const question = { ...asked, now, from: first?.start ?? end, to: last?.end ?? end }
  const sums = Map.groupBy(await readUsage(database, question), ({ bucket }) => bucket)
  return toPage(buckets, end, ({ grid }) => (sums.get(grid) ?? []).map(toResult))
}

function nothing({ wallClock }: PlatformParts, asked: Asked) {
  const { buckets, end } = bucketsAsked(asked, Math.ceil(wallClock() / 1000))
  return toPage<never>(buckets, end, () => [])
}

function bucketsAsked(asked: Asked, now: number): { buckets: Bucket[]; end: number } {
  const end = asked.end ?? now
  return { buckets: bucketsOf({ ...asked, end }), end }
}

function toPage<Result>(buckets: readonly Bucket[], end: number, resultsOf: (bucket: Bucket) => Result[]) {
  const last = buckets.at(-1)
  const next = last !== undefined && last.end < end ? nextPage(last) : null
  const data = buckets.map(bucket => ({
    object: 'bucket' as const,
    start_time: bucket.start,
    end_time: bucket.end,
    results: resultsOf(bucket),
  }))
  return { object: 'page' as const, data, has_more: next !== null, next_page: next }
}

const completionMeasures = [
  'requests',
  'input_tokens',
  'cached_input_tokens',
  'cache_write_tokens',
  'audio_input_tokens',
  'cached_audio_input_tokens',
  'image_input_tokens',
  'cached_image_input_tokens',
  'output_tokens',
  'audio_output_tokens',
  'image_output_tokens',
] as const

/** What OpenAI calls input of a kind is that part of it which was neither read from a cache nor written to one. */
function completionsResult(sum: UsageSum<(typeof completionMeasures)[number]>) {
  const count = (measure: (typeof completionMeasures)[number]): number => Number(sum[measure])
  const [input, cached, written] = [count('input_tokens'), count('cached_input_tokens'), count('cache_write_tokens')]
  const [cachedAudio, cachedImage] = [count('cached_audio_input_tokens'), count('cached_image_input_tokens')]
  const [audio, image] = [count('audio_input_tokens') - cachedAudio, count('image_input_tokens') - cachedImage]
  return {
    object: 'organization.usage.completions.result' as const,
    input_tokens: input,
    input_cached_tokens: cached,
    input_uncached_tokens: rest(input, cached, written),
    input_cache_write_tokens: written,
    input_text_tokens: rest(input, cached, written, audio, image),
    input_cached_text_tokens: rest(cached, cachedAudio, cachedImage),
    input_audio_tokens: rest(audio),
    input_cached_audio_tokens: cachedAudio,
    input_image_tokens: rest(image),
    input_cached_image_tokens: cachedImage,
    output_tokens: count('output_tokens'),
    output_text_tokens: rest(count('output_tokens'), count('audio_output_tokens'), count('image_output_tokens')),
    output_audio_tokens: count('audio_output_tokens'),
    output_image_tokens: count('image_output_tokens'),
    num_model_requests: count('requests'),
    ...whoAndModel(sum),
    batch: sum.batch,
    service_tier: sum.service_tier,
  }
}

/** Providers that count the parts loosely are no reason to show less than nothing. */
const rest = (whole: number, ...parts: readonly number[]): number =>
  Math.max(
    0,
    parts.reduce((left, part) => left - part, whole),
  )

const embeddingsResult = (sum: UsageSum<'requests' | 'input_tokens'>) => ({
  object: 'organization.usage.embeddings.result' as const,
  input_tokens: Number(sum.input_tokens),
  num_model_requests: Number(sum.requests),
  ...whoAndModel(sum),
})

const codeInterpreterResult = (sum: UsageSum<'code_interpreter_calls'>) => ({
  object: 'organization.usage.code_interpreter_sessions.result' as const,
  num_sessions: Number(sum.code_interpreter_calls),
  project_id: sum.project_id,
})

const fileSearchResult = (sum: UsageSum<'file_search_calls'>) => ({
  object: 'organization.usage.file_searches.result' as const,
  num_requests: Number(sum.file_search_calls),
  ...who(sum),
  vector_store_id: null,
})

const webSearchResult = (sum: UsageSum<'web_search_calls' | 'web_search_requests'>) => ({
  object: 'organization.usage.web_searches.result' as const,
  num_requests: Number(sum.web_search_calls),
  num_model_requests: Number(sum.web_search_requests),
  ...whoAndModel(sum),
  context_level: null,
})

/** How much of a line item was used is only said of a line item. */
const costsResult = (sum: UsageSum<'charged_nano_usd' | 'input_tokens' | 'output_tokens'>) => ({
  object: 'organization.costs.result' as const,
  amount: { value: usdNumber(nanoUsd(sum.charged_nano_usd)), currency: 'usd' as const },
  line_item: sum.model,
  ...who(sum),
  quantity: sum.model === null ? null : Number(sum.input_tokens + sum.output_tokens),
  quantity_unit: sum.model === null ? null : ('tokens' as const),
})

type Who = Pick<UsageSum, 'project_id' | 'user_id' | 'api_key_id'>
const who = ({ project_id, user_id, api_key_id }: Who) => ({ project_id, user_id, api_key_id })
const whoAndModel = (sum: Who & Pick<UsageSum, 'model'>) => ({ ...who(sum), model: sum.model })
