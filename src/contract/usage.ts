/** Usage and costs in buckets of time (UTC), as OpenAI reports them. */
import { z } from 'zod'
import { type Endpoints, unixTime } from './endpoint.ts'
import { queryArray, queryBoolean, queryInteger } from './lists.ts'

export const bucketWidths = {
  '1m': { seconds: 60, limitDefault: 60, limitMax: 1_440 },
  '1h': { seconds: 3_600, limitDefault: 24, limitMax: 168 },
  '1d': { seconds: 86_400, limitDefault: 7, limitMax: 31 },
} as const
export const costBuckets = { seconds: 86_400, limitDefault: 7, limitMax: 180 } as const

/** The year 9999, beyond which neither JavaScript nor PostgreSQL shows a date as people do. */
const timeMax = 253_402_300_799
const ids = queryArray(z.string().min(1).max(256)).optional()

const period = {
  start_time: queryInteger(0, timeMax).describe('Unix time in seconds, inclusive.'),
  end_time: queryInteger(0, timeMax).optional().describe('Unix time in seconds, exclusive. Left out: now.'),
  page: z.string().max(256).optional().describe('`next_page` of the page before.'),
}

const filters = { project_ids: ids, user_ids: ids, api_key_ids: ids, models: ids }

const usageQuery = z.strictObject({
  ...period,
  ...filters,
  bucket_width: z.enum(['1m', '1h', '1d']).default('1d'),
  group_by: queryArray(z.enum(['project_id', 'user_id', 'api_key_id', 'model', 'batch', 'service_tier'])).optional(),
  limit: queryInteger(1, bucketWidths['1m'].limitMax).optional(),
})
/** `batch` exists so that old scripts go on working: nothing here runs in batches yet. */
const completionsQuery = usageQuery.extend({ batch: queryBoolean.optional() })
const embeddingsQuery = usageQuery.extend({
  group_by: queryArray(z.enum(['project_id', 'user_id', 'api_key_id', 'model'])).optional(),
})

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
    input_uncached_tokens: tokens,
    input_cache_write_tokens: tokens,
    input_text_tokens: tokens,
    input_cached_text_tokens: tokens,
    input_audio_tokens: tokens,
    input_cached_audio_tokens: tokens,
    input_image_tokens: tokens,
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

export const embeddingsUsage = z
  .object({
    object: z.literal('organization.usage.embeddings.result'),
    input_tokens: tokens,
    num_model_requests: z.int(),
    ...dimensions,
    model: z.string().nullable(),
  })
  .meta({ id: 'EmbeddingsUsage' })

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

export const usage = {
  completions: {
    method: 'GET',
    path: '/v1/organization/usage/completions',
    summary: 'Usage of chat completions and completions.',
    scope: 'api.usage.read',
    query: completionsQuery,
    answer: pageOf(completionsUsage),
  },
  embeddings: {
    method: 'GET',
    path: '/v1/organization/usage/embeddings',
    summary: 'Usage of embeddings.',
    scope: 'api.usage.read',
    query: embeddingsQuery,
    answer: pageOf(embeddingsUsage),
  },
  costs: {
    method: 'GET',
    path: '/v1/organization/costs',
    summary: 'What the organization was charged, by day.',
    scope: 'api.usage.read',
    query: costsQuery,
    answer: pageOf(costs),
  },
} as const satisfies Endpoints
