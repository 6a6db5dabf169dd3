/** The call log: every call that was answered, what it used and cost, and how it ended. */
import { z } from 'zod'
import { usdText } from './amounts.ts'
import { type Endpoints, unixTime } from './endpoint.ts'
import { cursor, nextListOf, queryArray, queryBoolean, queryInteger } from './lists.ts'
import { usageSpan } from './usage.ts'

const callsLimitMax = 100
const callsLimitDefault = 20
const outcomes = ['complete', 'client_left', 'upstream_cut', 'revoked', 'shutdown'] as const
const names = queryArray(z.string().min(1).max(256)).optional()
const requestId = z.string().min(1).max(100)
const dollars = z.string().regex(/^\d{1,9}(\.\d{1,9})?$/, 'expected dollars, as in 0.05')
const count = z.int()

export const call = z
  .object({
    object: z.literal('organization.call'),
    id: z.string(),
    request_id: z.string().describe('As the answer carried it in x-request-id.'),
    created_at: unixTime.describe('When the call began.'),
    project_id: z.string(),
    api_key_id: z.string(),
    user_id: z.string().nullable(),
    endpoint: z.string(),
    model: z.string(),
    provider: z.string(),
    upstream_model: z.string().describe("The provider's name of the model."),
    service_tier: z.string(),
    outcome: z.enum(outcomes).describe('Whole, or cut by the client, the provider, a revoked key, or our shutdown.'),
    estimated: z.boolean().describe('Tokens were counted here, since the provider gave no numbers.'),
    input_tokens: count.describe('Cached ones included.'),
    input_cached_tokens: count,
    input_cache_write_tokens: count,
    input_audio_tokens: count,
    input_image_tokens: count,
    output_tokens: count.describe('Reasoning tokens included.'),
    output_reasoning_tokens: count,
    output_audio_tokens: count,
    output_image_tokens: count,
    tool_calls: z.record(z.string(), count),
    cost_usd: usdText,
    overrun_usd: usdText.describe('What the call cost beyond what was held for it: borne by the platform.'),
    duration_ms: count,
    first_byte_ms: count.nullable().describe('Until the first byte of a stream.'),
    client_address: z.string().nullable(),
  })
  .meta({ id: 'Call' })

const text = z.object({
  text: z.string(),
  bytes: count.describe('Of the whole.'),
  truncated: z.boolean().describe('Cut at what the project captures of each call.'),
})

export const callPayload = z
  .object({
    object: z.literal('organization.call.payload'),
    request_id: z.string(),
    project_id: z.string(),
    captured_at: unixTime,
    request: text,
    answer: text.describe('Of a stream the events as they were sent.'),
  })
  .meta({ id: 'CallPayload' })

export const calls = {
  list: {
    method: 'GET',
    path: '/v1/organization/calls',
    summary:
      'List calls, newest first. A page looks for about a second: it may be short, or empty, while `next` says where to go on.',
    scope: 'api.usage.read',
    query: z.strictObject({
      start_time: usageSpan.start_time.optional(),
      end_time: usageSpan.end_time,
      project_ids: names,
      api_key_ids: names,
      user_ids: names,
      models: names,
      providers: names,
      endpoints: names,
      outcomes: queryArray(z.enum(outcomes)).optional(),
      estimated: queryBoolean.optional(),
      min_cost_usd: dollars.optional(),
      min_duration_ms: queryInteger(0, 2 ** 31 - 1).optional(),
      request_id: requestId.optional(),
      limit: queryInteger(1, callsLimitMax).default(callsLimitDefault),
      after: cursor.describe('The `next` of the page before.'),
    }),
    answer: nextListOf(call),
  },
  retrieve: {
    method: 'GET',
    path: '/v1/organization/calls/{request_id}',
    summary: 'Retrieve a call by the x-request-id of its answer.',
    scope: 'api.usage.read',
    answer: call,
  },
  payload: {
    method: 'GET',
    path: '/v1/organization/calls/{request_id}/payload',
    summary: 'Retrieve what was said in a call, where its project captures it.',
    scope: 'api.calls.payloads',
    answer: callPayload,
  },
} as const satisfies Endpoints
