/**
 * Verb five. Calls the provider and streams its answer back unchanged, all but its end. Tries the next target only while
 * the client has not had a byte. Refuses with 502 and 504, or with what the provider says of the request.
 */
import { ApiError, apiError } from '#contract/errors.ts'
import type { Target } from '#core/catalogue.ts'
import type { Provider, UpstreamFailure } from '#providers/contract.ts'
import type { Admission } from './admit.ts'
import type { Answer } from './answer.ts'
import type { Call } from './call.ts'
import type { Gateway } from './gateway.ts'
import { upstreamBody } from './request-body.ts'
import { type Attempt, UpstreamCall } from './upstream-call.ts'

/** Targets that one call tries at most. */
const attemptsMax = 3

export async function forward(
  gateway: Gateway,
  call: Call,
  admission: Admission,
  targets: readonly Target[],
): Promise<Answer> {
  let failure: UpstreamFailure | undefined
  for (const target of targets.slice(0, attemptsMax)) {
    call.cutSwitch.throwIfCut()
    let attempt = await tryTarget(gateway, call, admission, target)
    if (wasDropped(attempt)) attempt = await tryTarget(gateway, call, admission, target)
    if ('answer' in attempt) return attempt.answer
    gateway.metrics.upstreamFailed(target.providerName, attempt.failure.error.errorCode)
    // Not its message: a provider's own words may quote the prompt
    const { errorCode: code, status, cause: err } = attempt.failure.error
    const { requestId: request_id } = call.exchange
    gateway.warn({ request_id, provider: target.providerName, code, status, err }, 'a provider failed')
    failure = attempt.failure
    if (!failure.tryNext) break
  }
  throw (
    failure?.error ?? apiError('model_unavailable', { model: call.model.name, reason: 'no provider could be tried.' })
  )
}

/** A kept-alive connection that the provider closed at the very moment we used it: a new one is worth one more try. */
const wasDropped = (attempt: Attempt): boolean =>
  'failure' in attempt && attempt.failure.error.errorCode === 'upstream_unreachable'

async function tryTarget(gateway: Gateway, call: Call, admission: Admission, target: Target): Promise<Attempt> {
  const provider = gateway.providers.get(target.adapter)
  if (!provider)
    throw apiError('model_unavailable', {
      model: call.model.name,
      reason: `this Keyhouse has no adapter "${target.adapter}".`,
    })
  try {
    await provider.prepare?.(target)
  } catch (error) {
    if (error instanceof ApiError) return { failure: { error, tryNext: true } }
    throw error
  }
  const attempt = await request(gateway, call, admission, target, provider)
  if ('failure' in attempt && attempt.failure.tryNext) gateway.circuits.failed(target, attempt.failure.error)
  else gateway.circuits.succeeded(target)
  return attempt
}

function request(
  gateway: Gateway,
  call: Call,
  admission: Admission,
  target: Target,
  provider: Provider,
): Promise<Attempt> {
  const address = provider.address(target, call.endpoint.upstream)
  const body = upstreamBody(call.body, changesFor(call, admission, target))
  const upstream = new UpstreamCall({
    call,
    target,
    provider,
    addHeaders: headers => addAnswerHeaders(headers, gateway, call, admission),
    bodyBytesMax: gateway.settings.upstreamBodyBytesMax,
    clientStallMs: gateway.settings.clientStallMs,
    clientLeftMs: gateway.settings.clientLeftMs,
  })
  gateway.connections.to(address).dispatch(
    {
      origin: address.origin,
      path: address.path,
      method: 'POST',
      headers: {
        ...address.headers,
        'content-type': 'application/json',
        accept: call.ask.stream ? 'text/event-stream' : 'application/json',
        'x-request-id': call.exchange.requestId,
      },
      body,
    },
    upstream,
  )
  return upstream.attempt
}

/** Providers differ in which one they heed. */
const outputMembers = ['max_tokens', 'max_completion_tokens'] as const

/** What must differ from the client's own body: the model's name there, the output bound, and that we want the usage. */
function changesFor(call: Call, admission: Admission, target: Target): Record<string, unknown> {
  const { ask, body } = call
  const changes: Record<string, unknown> = { model: target.upstreamModel }
  const { outputTokensEach } = admission.bound
  for (const member of outputTokensEach === null ? [] : outputMembers) {
    const isSaid = member === ask.outputMember || (body.parsed[member] ?? null) !== null
    if (isSaid) changes[member] = outputTokensEach
  }
  if (ask.stream && !ask.includeUsage) {
    // Checked by the endpoint to be an object where it is there.
    changes.stream_options = { ...(body.parsed.stream_options as object | undefined), include_usage: true }
  }
  return changes
}

function addAnswerHeaders(
  headers: Record<string, string>,
  gateway: Gateway,
  { exchange, grant }: Call,
  { limits, bound, clampedFrom }: Admission,
): void {
  headers['openai-organization'] = grant.organizationId
  headers['openai-project'] = grant.projectId
  headers['openai-processing-ms'] = String(Math.max(1, Math.round(gateway.now() - exchange.startedAtMs)))
  headers['openai-version'] = '2020-10-01'
  if (clampedFrom !== null) headers['x-keyhouse-max-tokens-clamped-to'] = String(bound.outputTokensEach)
  limits.addHeaders(headers)
}
