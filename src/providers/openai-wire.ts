/** What all upstreams that speak OpenAI's wire format have in common: their failures. */
import { ApiError, apiError } from '#contract/errors.ts'
import type { UpstreamFailure, UpstreamHeaders, UpstreamTarget } from './contract.ts'

const messageCharactersMax = 2000
/** Waits that an upstream asks for beyond this are not believed. */
const retryAfterMsMax = 3_600_000

/**
 * Client errors are told as the provider words them: they are about the caller's request. Everything about our own
 * account with the provider (its key, its organization, its limits) stays with us.
 */
export function classifyOpenAi(
  target: UpstreamTarget,
  status: number,
  headers: UpstreamHeaders,
  body: string,
): UpstreamFailure {
  const provider = target.providerName
  if (status === 401 || status === 403) {
    return { error: apiError('upstream_credential', { provider }, { cause: inShort(status, body) }), tryNext: true }
  }
  if (status === 429) return { error: upstreamBusy(provider, headers, body), tryNext: true }
  if (status === 503 && errorOf(body)?.code === 'server_is_overloaded') {
    return {
      error: apiError('server_is_overloaded', undefined, { ...retryAfter(headers), cause: inShort(status, body) }),
      tryNext: true,
    }
  }
  if (status >= 400 && status < 500) return { error: passOn(status, body), tryNext: status === 404 || status === 408 }
  return { error: apiError('upstream_error', { provider, status }, { cause: inShort(status, body) }), tryNext: true }
}

function upstreamBusy(provider: string, headers: UpstreamHeaders, body: string): ApiError {
  const message = `The provider \`${provider}\` is limiting requests. Try again in a moment.`
  return apiError(
    'rate_limit_exceeded',
    { message, dimension: 'requests' },
    { ...retryAfter(headers), cause: inShort(429, body) },
  )
}

function passOn(status: number, body: string): ApiError {
  const upstream = errorOf(body)
  const base = apiError('invalid_parameter', {
    param: typeof upstream?.param === 'string' ? upstream.param : null,
    message: text(upstream?.message) ?? `The provider refused the request with status ${status}.`,
    ...(typeof upstream?.code === 'string' && { code: upstream.code }),
  })
  return new PassedOnError(base, status)
}

/** A client error whose status is the provider's own, such as 413 or 422. */
class PassedOnError extends ApiError {
  override readonly status: number
  constructor(base: ApiError, status: number) {
    super(base.errorCode, base.wire)
    this.status = status
  }
}

type UpstreamErrorBody = { message?: unknown; param?: unknown; code?: unknown; type?: unknown }

/** For the log: what kind of failure it was. Its words stay out, which may quote the prompt or our own credential. */
function inShort(status: number, body: string): string {
  const { type, code } = errorOf(body) ?? {}
  return `status ${status}, type ${identifier(type)}, code ${identifier(code)}, ${body.length} characters`
}

const identifier = (value: unknown): string =>
  typeof value === 'string' && /^[a-z][a-z0-9_.]{0,63}$/.test(value) ? value : 'unknown'

function errorOf(body: string): UpstreamErrorBody | undefined {
  try {
    const parsed: unknown = JSON.parse(body)
    // OpenAI nests it under `error`; some servers (vLLM of old) send the members bare, or an array around it.
    const outer = (Array.isArray(parsed) ? parsed[0] : parsed) as { error?: UpstreamErrorBody } & UpstreamErrorBody
    return typeof outer?.error === 'object' && outer.error !== null ? outer.error : outer
  } catch {
    return undefined
  }
}

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value.slice(0, messageCharactersMax) : undefined

export function retryAfter(headers: UpstreamHeaders): { retryAfterMs?: number } {
  const ms = Number(headers['retry-after-ms'] ?? Number.NaN)
  const seconds = Number(headers['retry-after'] ?? Number.NaN)
  const wait = Number.isFinite(ms) ? ms : seconds * 1000
  return wait > 0 && wait <= retryAfterMsMax ? { retryAfterMs: wait } : {}
}
