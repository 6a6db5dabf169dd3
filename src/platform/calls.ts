/** The call log, and what was said in calls where a project captures it. */

import type { z } from 'zod'
import type { call, callPayload, calls } from '#contract/calls.ts'
import { apiError } from '#contract/errors.ts'
import { formatUsd, nanoUsd, parseUsd } from '#core/money.ts'
import { findPayload, type PayloadRow } from '#storage/call-payloads.ts'
import { type CallFilter, type CallPlace, type CallRow, findCall, listCalls } from '#storage/calls.ts'
import type { Call, Handlers } from './handler.ts'
import { unixSeconds } from './page.ts'

export const callHandlers: Handlers<typeof calls> = {
  async list({ database, wallClock }, { grant, query }) {
    const after = query.after === undefined ? undefined : readPlace(query.after)
    const question = { organizationId: grant.organizationId, filter: filterOf(query), after, limit: query.limit }
    const found = await listCalls(database, { ...question, wallClock })
    const next = found.next === undefined ? null : writePlace(found.next)
    return { object: 'list', data: found.calls.map(toCall), has_more: next !== null, next }
  },

  async retrieve({ database }, { grant, params }) {
    const row = await findCall(database, grant.organizationId, params.request_id)
    if (!row) throw apiError('not_found', { what: 'call' })
    return toCall(row)
  },

  async payload({ database, wallClock }, { grant, params }) {
    const row = await findPayload(database, grant.organizationId, params.request_id, new Date(wallClock()))
    if (!row) throw apiError('not_found', { what: 'captured call' })
    return toPayload(row)
  },
}

const filterOf = (query: Call<typeof calls.list>['query']): CallFilter => ({
  projectIds: query.project_ids,
  apiKeyIds: query.api_key_ids,
  userIds: query.user_ids,
  models: query.models,
  providers: query.providers,
  endpoints: query.endpoints,
  outcomes: query.outcomes,
  requestId: query.request_id,
  estimated: query.estimated,
  chargedNanoUsdMin: query.min_cost_usd === undefined ? undefined : parseUsd(query.min_cost_usd),
  durationMsMin: query.min_duration_ms,
  from: query.start_time,
  to: query.end_time,
})

const writePlace = ({ micros, id }: CallPlace): string => Buffer.from(`${micros}.${id}`).toString('base64url')

function readPlace(text: string): CallPlace {
  const match = /^(\d{1,18})\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.exec(
    Buffer.from(text, 'base64url').toString(),
  )
  if (match) return { micros: BigInt(match[1] ?? 0), id: match[2] ?? '' }
  const message = "Invalid 'after': send the next of the page before, unchanged."
  throw apiError('invalid_parameter', { param: 'after', message, code: 'invalid_value' })
}

const toCall = (row: CallRow): z.output<typeof call> => ({
  object: 'organization.call',
  id: row.id,
  request_id: row.request_id,
  created_at: Number(row.micros / 1_000_000n),
  project_id: row.project_id,
  api_key_id: row.api_key_id,
  user_id: row.user_id,
  endpoint: row.endpoint,
  model: row.model,
  provider: row.provider,
  upstream_model: row.upstream_model,
  service_tier: row.service_tier ?? 'default',
  outcome: row.outcome,
  estimated: row.estimated,
  input_tokens: row.input_tokens,
  input_cached_tokens: row.cached_input_tokens,
  input_cache_write_tokens: row.cache_write_tokens ?? 0,
  input_audio_tokens: row.audio_input_tokens ?? 0,
  input_image_tokens: row.image_input_tokens ?? 0,
  output_tokens: row.output_tokens,
  output_reasoning_tokens: row.reasoning_tokens,
  output_audio_tokens: row.audio_output_tokens ?? 0,
  output_image_tokens: row.image_output_tokens ?? 0,
  tool_calls: row.tool_calls ?? {},
  cost_usd: formatUsd(nanoUsd(row.charged_nano_usd)),
  overrun_usd: formatUsd(nanoUsd(row.overrun_nano_usd)),
  duration_ms: row.duration_ms,
  first_byte_ms: row.first_byte_ms,
  client_address: row.client_address,
})

const toPayload = (row: PayloadRow): z.output<typeof callPayload> => ({
  object: 'organization.call.payload',
  request_id: row.request_id,
  project_id: row.project_id,
  captured_at: unixSeconds(row.captured_at),
  request: { text: row.request, bytes: Number(row.request_bytes), truncated: row.request_truncated },
  answer: { text: row.answer, bytes: Number(row.answer_bytes), truncated: row.answer_truncated },
})
