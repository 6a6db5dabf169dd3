/** Usage and costs in buckets of time (UTC), as OpenAI reports them. */
import { z } from 'zod'
import { type Endpoints, unixTime } from './endpoint.ts'
import { cursor, queryArray, queryBoolean, queryInteger } from './lists.ts'

export const bucketWidths = {
  '1m': { seconds: 60, limitDefault: 60, limitMax: 1_440 },
  '1h': { seconds: 3_600, limitDefault: 24, limitMax: 168 },
  '1d': { seconds: 86_400, limitDefault: 7, limitMax: 31 },
} as const
export const costBuckets = { seconds: 86_400, limitDefault: 7, limitMax: 180 } as const

/** The year 9999, beyond which neither JavaScript nor PostgreSQL shows a date as people do. */
const timeMax = 253_402_300_799
const ids = queryArray(z.string().min(1).max(256)).optional()

export const usageSpan = {
  start_time: queryInteger(0, timeMax).describe('Unix time in seconds, inclusive.'),
  end_time: queryInteger(0, timeMax).optional().describe('Unix time in seconds, exclusive. Left out: now.'),
}
const period = {
  ...usageSpan,
  page: cursor.describe('`next_page` of the page before.'),
}

export const usageFilters = { project_ids: ids, user_ids: ids, api_key_ids: ids, models: ids }

const grouped = ['project_id', 'user_id', 'api_key_id', 'model'] as const

/** What every kind of usage can be asked for by; a kind adds its own. */
const queryOf = <const Group extends string>(groups: readonly [Group, ...Group[]]) =>
  z.strictObject({
    ...period,
    ...usageFilters,
    bucket_width: z.enum(['1m', '1h', '1d']).default('1d'),
    group_by: queryArray(z.enum(groups)).optional(),
    limit: queryInteger(1, bucketWidths['1m'].limitMax).optional(),
  })

const usageQuery = queryOf(grouped)
const batch = queryBoolean.optional().describe('Calls in batches, or all others.')
const completionsQuery = queryOf([...grouped, 'batch', 'service_tier']).extend({ batch })
const decisionsQuery = queryOf([...grouped, 'batch', 'service_tier', 'api_source']).extend({ batch })
const imagesQuery = queryOf([...grouped, 'size', 'source']).extend({
  sources: queryArray(z.enum(['image.generation', 'image.edit', 'image.variation'])).optional(),
  sizes: queryArray(z.enum(['256x256', '512x512', '1024x1024', '1792x1792', '1024x1792'])).optional(),
})
const webSearchQuery = queryOf([...grouped, 'context_level']).extend({
  context_levels: queryArray(z.enum(['low', 'medium', 'high'])).optional(),
})
const fileSearchQuery = queryOf(['project_id', 'user_id', 'api_key_id', 'vector_store_id'])
  .omit({ models: true })
  .extend({ vector_store_ids: ids })
const projectQuery = queryOf(['project_id']).omit({ user_ids: true, api_key_ids: true, models: true })

const costsQuery = z.strictObject({
  ...period,
  project_ids: ids,
  user_ids: ids,
  api_key_ids: ids,
  line_items: ids,
  bucket_width: z.enum(['1d']).default('1d'),
  group_by: queryArray(z.enum(['project_id', 'user_id', 'api_key_id', 'line_item'])).optional(),
  limit: queryInteger(1, costBuckets.limitMax).default(costBuckets.limitDefault),
})

const pageOf = <Result extends z.ZodType>(result: Result) =>
  z.object({
    object: z.literal('page'),
    data: z.array(
      z.object({
        object: z.literal('bucket'),
        start_time: unixTime,
        end_time: unixTime,
        results: z.array(result),
      }),
    ),
    has_more: z.boolean(),
    next_page: z.string().nullable(),
  })

const tokens = z.int()
const dimensions = {
  project_id: z.string().nullable(),
  user_id: z.string().nullable(),
  api_key_id: z.string().nullable(),
}

export const completionsUsage = z
  .object({
    object: z.literal('organization.usage.completions.result'),
    input_tokens: tokens.describe('Cached ones included.'),
    input_cached_tokens: tokens,
    input_uncached_tokens: tokens.describe('Neither read from the cache nor written to it.'),
    input_cache_write_tokens: tokens,
    input_text_tokens: tokens.describe('Uncached ones.'),
    input_cached_text_tokens: tokens,
    input_audio_tokens: tokens.describe('Uncached ones.'),
    input_cached_audio_tokens: tokens,
    input_image_tokens: tokens.describe('Uncached ones.'),
    input_cached_image_tokens: tokens,
    output_tokens: tokens.describe('Reasoning tokens included.'),
    output_text_tokens: tokens,
    output_audio_tokens: tokens,
    output_image_tokens: tokens,
    num_model_requests: z.int(),
    ...dimensions,
    model: z.string().nullable(),
    batch: z.boolean().nullable(),
    service_tier: z.string().nullable(),
  })
  .meta({ id: 'CompletionsUsage' })

const who = { ...dimensions, model: z.string().nullable() }
const requests = z.int()

export const embeddingsUsage = z
  .object({
    object: z.literal('organization.usage.embeddings.result'),
    input_tokens: tokens,
    num_model_requests: requests,
    ...who,
  })
  .meta({ id: 'EmbeddingsUsage' })

const moderationsUsage = z.object({
  object: z.literal('organization.usage.moderations.result'),
  input_tokens: tokens,
  num_model_requests: requests,
  ...who,
})

const decisionsUsage = z.object({
  object: z.literal('organization.usage.decisions.result'),
  input_tokens: tokens,
  output_tokens: tokens,
  num_model_requests: requests,
  ...who,
})

const imagesUsage = z.object({
  object: z.literal('organization.usage.images.result'),
  images: z.int(),
  num_model_requests: requests,
  size: z.string().nullable(),
  source: z.string().nullable(),
  ...who,
})

const audioSpeechesUsage = z.object({
  object: z.literal('organization.usage.audio_speeches.result'),
  characters: z.int(),
  num_model_requests: requests,
  ...who,
})

const audioTranscriptionsUsage = z.object({
  object: z.literal('organization.usage.audio_transcriptions.result'),
  seconds: z.int(),
  num_model_requests: requests,
  ...who,
})

const vectorStoresUsage = z.object({
  object: z.literal('organization.usage.vector_stores.result'),
  usage_bytes: z.int(),
  project_id: z.string().nullable(),
})

const codeInterpreterUsage = z
  .object({
    object: z.literal('organization.usage.code_interpreter_sessions.result'),
    num_sessions: z.int(),
    project_id: z.string().nullable(),
  })
  .meta({ id: 'CodeInterpreterSessionsUsage' })

const fileSearchUsage = z
  .object({
    object: z.literal('organization.usage.file_searches.result'),
    num_requests: z.int(),
    ...dimensions,
    vector_store_id: z.string().nullable().describe('Not known: the provider does not say.'),
  })
  .meta({ id: 'FileSearchCallsUsage' })

const webSearchUsage = z
  .object({
    object: z.literal('organization.usage.web_searches.result'),
    num_requests: z.int().describe('Searches.'),
    num_model_requests: requests.describe('Calls of models in which there was one.'),
    ...who,
    context_level: z.string().nullable().describe('Not known: the provider does not say.'),
  })
  .meta({ id: 'WebSearchCallsUsage' })

export const costs = z
  .object({
    object: z.literal('organization.costs.result'),
    amount: z.object({ value: z.number().describe('Dollars.'), currency: z.literal('usd') }),
    line_item: z.string().nullable().describe('The model.'),
    ...dimensions,
    quantity: z.number().nullable().describe('Input and output tokens, when grouped by line item.'),
    quantity_unit: z.literal('tokens').nullable(),
  })
  .meta({ id: 'Costs' })

const row = <Query extends z.ZodObject, Result extends z.ZodType>(
  kind: UsageKind,
  { summary, query, result }: { readonly summary: string; readonly query: Query; readonly result: Result },
) =>
  ({
    method: 'GET',
    path: `/v1/organization/usage/${kind}`,
    summary,
    scope: 'api.usage.read',
    query,
    answer: pageOf(result),
  }) as const

type UsageKind =
  | 'completions'
  | 'embeddings'
  | 'moderations'
  | 'images'
  | 'audio_speeches'
  | 'audio_transcriptions'
  | 'vector_stores'
  | 'code_interpreter_sessions'
  | 'file_search_calls'
  | 'web_search_calls'
  | 'decisions'

const none = (what: string): string => `Usage of ${what}. Empty buckets: the gateway takes no such calls yet.`

export const usage = {
  completions: row('completions', {
    summary: 'Usage of chat completions and completions.',
    query: completionsQuery,
    result: completionsUsage,
  }),
  embeddings: row('embeddings', { summary: 'Usage of embeddings.', query: usageQuery, result: embeddingsUsage }),
  moderations: row('moderations', { summary: none('moderations'), query: usageQuery, result: moderationsUsage }),
  images: row('images', { summary: none('images'), query: imagesQuery, result: imagesUsage }),
  audioSpeeches: row('audio_speeches', { summary: none('speech'), query: usageQuery, result: audioSpeechesUsage }),
  audioTranscriptions: row('audio_transcriptions', {
    summary: none('transcription'),
    query: usageQuery,
    result: audioTranscriptionsUsage,
  }),
  vectorStores: row('vector_stores', {
    summary: none('vector stores'),
    query: projectQuery,
    result: vectorStoresUsage,
  }),
  codeInterpreterSessions: row('code_interpreter_sessions', {
    summary: 'Uses of the code interpreter, as providers count them.',
    query: projectQuery,
    result: codeInterpreterUsage,
  }),
  fileSearchCalls: row('file_search_calls', {
    summary: 'Searches in files, as providers count them.',
    query: fileSearchQuery,
    result: fileSearchUsage,
  }),
  webSearchCalls: row('web_search_calls', {
    summary: 'Searches in the web, as providers count them.',
    query: webSearchQuery,
    result: webSearchUsage,
  }),
  decisions: row('decisions', { summary: none('decisions'), query: decisionsQuery, result: decisionsUsage }),
  costs: {
    method: 'GET',
    path: '/v1/organization/costs',
    summary: 'What the organization was charged, by day.',
    scope: 'api.usage.read',
    query: costsQuery,
    answer: pageOf(costs),
  },
} as const satisfies Endpoints
