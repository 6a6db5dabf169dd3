/**
 * Verb three. Rate limits in every dimension, all or none; then a hold for the most that the call can cost. Refuses with
 * 429. What it takes here is corrected, and what it holds is settled, when the call has ended, however it ends.
 */
import { apiError } from '#contract/errors.ts'
import type { OrganizationId, ProjectId } from '#contract/ids.ts'
import { limitsFor } from '#core/grant.ts'
import { mostItCanCost } from '#core/pricing.ts'
import type { Charge, Counters, Refusal } from '#storage/counters.ts'
import type { Call } from './call.ts'
import type { Gateway } from './gateway.ts'
import type { Hold } from './wallets.ts'

export type Admission = {
  readonly hold: Hold
  readonly charges: readonly LimitCharge[]
  readonly bound: Bound
  /** Tokens that the token limits were charged with in advance. */
  readonly tokens: number
}

export type LimitCharge = Charge & {
  readonly dimension: 'requests' | 'tokens'
  readonly scope: OrganizationId | ProjectId
}

/** The most that a call can use. `outputTokensEach` is the bound that goes upstream, where one has to be sent. */
export type Bound = {
  readonly inputTokensMax: number
  readonly outputTokensMax: number
  readonly outputTokensEach: number | null
}

const minuteMs = 60_000
/** A byte-pair token is seldom shorter than this, in bytes; for estimates only, never for what is held. */
export const bytesPerTokenEstimate = 4

export async function admit(gateway: Gateway, call: Call): Promise<Admission> {
  if (gateway.journal.refusal) throw apiError('storage_full', { what: gateway.journal.refusal })
  const bound = boundOf(gateway, call)
  const tokens = estimateTokens(call)
  const charges = chargesFor(gateway, call, tokens)
  const refusal = gateway.counters.take(charges)
  if (refusal) throw rateLimited(call, refusal, rateLimitHeaders(gateway.counters, charges, {}))
  try {
    const reserved = gateway.wallets.reserve(call.grant.organizationId, mostItCanCost(call.price, bound))
    const hold = reserved instanceof Promise ? await reserved : reserved
    return { hold, charges, bound, tokens }
  } catch (error) {
    // A refused call consumes nothing
    for (const charge of charges) gateway.counters.adjust(charge, -charge.cost)
    throw error
  }
}

/** Every prompt byte can be a token; the body's own syntax is longer than what chat templates add. */
function boundOf(gateway: Gateway, { body, ask, model, endpoint }: Call): Bound {
  const inputTokensMax = body.raw.length + templateTokensMax
  if (!endpoint.answers) return { inputTokensMax, outputTokensMax: 0, outputTokensEach: null }
  const known = ask.outputTokens ?? model.outputTokensMax ?? model.contextTokensMax
  const each = known ?? gateway.settings.outputTokensDefault
  const mustSend = ask.outputTokens !== null || known === null
  return { inputTokensMax, outputTokensMax: each * ask.choices, outputTokensEach: mustSend ? each : null }
}

const templateTokensMax = 64

function estimateTokens({ body, ask }: Call): number {
  return Math.ceil(body.raw.length / bytesPerTokenEstimate) + (ask.outputTokens ?? 0) * ask.choices
}

function chargesFor(gateway: Gateway, call: Call, tokens: number): LimitCharge[] {
  const { grant, model } = call
  const defaults = gateway.settings.limitsDefault
  return [
    ...scopeCharges(
      grant.organizationId,
      model.name,
      limitsFor(grant.organizationLimits, model.name, defaults),
      tokens,
    ),
    ...scopeCharges(grant.projectId, model.name, limitsFor(grant.projectLimits, model.name, defaults), tokens),
  ]
}

function scopeCharges(
  scope: LimitCharge['scope'],
  model: string,
  limits: { requestsPerMinute: number; tokensPerMinute: number },
  tokens: number,
): LimitCharge[] {
  return [
    {
      counter: `${scope} ${model} requests`,
      dimension: 'requests',
      scope,
      rate: { limit: limits.requestsPerMinute, periodMs: minuteMs },
      cost: 1,
    },
    {
      counter: `${scope} ${model} tokens`,
      dimension: 'tokens',
      scope,
      rate: { limit: limits.tokensPerMinute, periodMs: minuteMs },
      cost: tokens,
    },
  ]
}

type Headers = Record<string, string>

function rateLimited(call: Call, { charge, waitMs, used }: Refusal<LimitCharge>, headers: Headers): Error {
  const { dimension, scope, rate, cost } = charge
  const unit = dimension === 'requests' ? 'requests per min (RPM)' : 'tokens per min (TPM)'
  const where = `${call.model.name} in ${scope.startsWith('proj_') ? 'project' : 'organization'} ${scope} on ${unit}`
  if (waitMs === Number.POSITIVE_INFINITY) {
    const message = `Request too large for ${where}: Limit ${rate.limit}, Requested ${cost}. Lower max_tokens or shorten the input.`
    return apiError('request_exceeds_limit', { message, dimension }, { headers })
  }
  const message =
    `Rate limit reached for ${where}: Limit ${rate.limit}, Used ${used}, Requested ${cost}. ` +
    `Please try again in ${goDuration(waitMs)}.`
  return apiError('rate_limit_exceeded', { message, dimension }, { retryAfterMs: waitMs, headers })
}

/** The tightest scope's standing, as `x-ratelimit-*` headers, which are put into `headers`. */
export function rateLimitHeaders(counters: Counters, charges: readonly LimitCharge[], headers: Headers): Headers {
  for (const dimension of ['requests', 'tokens'] as const) {
    let tightest: { limit: number; remaining: number; resetMs: number } | undefined
    for (const charge of charges) {
      if (charge.dimension !== dimension) continue
      const standing = counters.standing(charge)
      if (!tightest || standing.remaining < tightest.remaining) tightest = { limit: charge.rate.limit, ...standing }
    }
    if (!tightest) continue
    headers[`x-ratelimit-limit-${dimension}`] = String(tightest.limit)
    headers[`x-ratelimit-remaining-${dimension}`] = String(tightest.remaining)
    headers[`x-ratelimit-reset-${dimension}`] = goDuration(tightest.resetMs)
  }
  return headers
}

/** A duration as Go writes it, which is how OpenAI does: 8ms, 1s, 1m7.5s, 2h3m4s. */
export function goDuration(ms: number): string {
  const whole = Math.ceil(ms)
  if (whole < 1000) return `${whole}ms`
  const hours = Math.floor(whole / 3_600_000)
  const minutes = Math.floor((whole % 3_600_000) / 60_000)
  const seconds = (whole % 60_000) / 1000
  return `${hours > 0 ? `${hours}h` : ''}${hours > 0 || minutes > 0 ? `${minutes}m` : ''}${seconds}s`
}
