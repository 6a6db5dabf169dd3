/**
 * The rate limits of one call: in every dimension, of its organization, project and key, all or none. A refused call consumes
 * nothing; tokens are charged with an estimate, and corrected when the call has ended; slots go back then.
 */
import { apiError } from '#contract/errors.ts'
import { type Standing, standing } from '#core/gcra.ts'
import type { Grant } from '#core/grant.ts'
import { dimensions, type Use } from '#core/limit-dimensions.ts'
import { type LimitRule, rulesOf } from '#core/rate-limits.ts'
import type { Counters, Outcome, Refused, Taken } from '#storage/counters.ts'
import type { Call } from './call.ts'
import type { Gateway } from './gateway.ts'

/** What one call has taken from its rate limits. Of its four ends the first one called takes effect. */
export type LimitsTaken = {
  /** Adds where the tightest limits stood when the call was admitted, as `x-ratelimit-*`. */
  addHeaders(headers: Record<string, string>): void
  /** The call was answered: the estimate of its tokens becomes what it really used. */
  settle(tokens: number): void
  /** The call got no answer: what it set aside goes back, the request stays counted. */
  release(): void
  /** The call was refused after all: it consumed nothing. */
  undo(): void
  /** The call is over, and nobody knows what it used: what it took stays taken, but for its slots. */
  end(): void
}

/** @throws ApiError rate_limit_exceeded, request_exceeds_limit */
export function takeLimits(gateway: Gateway, call: Call, tokens: number): LimitsTaken | Promise<LimitsTaken> {
  const rules = rulesFor(gateway, call)
  const costs = costsOf(rules, call, tokens)
  const taken = gateway.counters.take(rules, costs)
  if (taken instanceof Promise) return taken.then(outcome => admitted(gateway, call, { rules, costs }, outcome))
  return admitted(gateway, call, { rules, costs }, taken)
}

type Charges = { readonly rules: readonly LimitRule[]; readonly costs: readonly number[] }

function admitted({ counters }: Gateway, call: Call, charges: Charges, outcome: Outcome): LimitsTaken {
  if (!outcome.fits) throw rateLimited(call, charges, outcome)
  return new Taking(counters, charges, outcome)
}

/** A grant never changes, so what it limits a model's calls to is found out once. */
const kept = new WeakMap<Grant, Map<string, readonly LimitRule[]>>()

function rulesFor({ settings }: Gateway, { grant, model }: Call): readonly LimitRule[] {
  let byModel = kept.get(grant)
  if (!byModel) {
    byModel = new Map()
    kept.set(grant, byModel)
  }
  let rules = byModel.get(model.name)
  if (!rules) {
    rules = rulesOf(grant, model.name, settings.limitsDefault)
    byModel.set(model.name, rules)
  }
  return rules
}

function costsOf(rules: readonly LimitRule[], { ask }: Call, tokens: number): number[] {
  const use: Use = {
    requests: 1,
    slots: 1,
    tokens,
    images: ask.images ?? 0,
    audioMegabytes: ask.audioMegabytes ?? 0,
    batchTokens: ask.batchTokens ?? 0,
  }
  return rules.map(({ dimension }) => use[dimensions[dimension].cost])
}

class Taking implements LimitsTaken {
  readonly #counters: Counters
  readonly #charges: Charges
  readonly #taken: Taken
  #ended = false

  constructor(counters: Counters, charges: Charges, taken: Taken) {
    this.#counters = counters
    this.#charges = charges
    this.#taken = taken
  }

  addHeaders(headers: Record<string, string>): void {
    addRateLimitHeaders(headers, this.#charges.rules, this.#taken)
  }

  settle(tokens: number): void {
    this.#end((cost, kind) => (kind === 'tokens' ? tokens - cost : 0))
  }

  release(): void {
    this.#end((cost, kind) => (kind === 'requests' ? 0 : -cost))
  }

  undo(): void {
    this.#end(cost => -cost)
  }

  end(): void {
    this.#end(() => 0)
  }

  #end(deltaOf: (cost: number, kind: keyof Use) => number): void {
    if (this.#ended) return
    this.#ended = true
    const { rules, costs } = this.#charges
    for (const [index, rule] of rules.entries()) {
      const { cost: kind } = dimensions[rule.dimension]
      if (kind === 'slots') {
        this.#counters.free(rule, this.#taken)
        continue
      }
      const delta = deltaOf(costs[index] ?? 0, kind)
      if (delta !== 0) this.#counters.adjust(rule, delta, this.#taken)
    }
  }
}

/** OpenAI's SDKs wait as long as they are told up to this; beyond it they ask again at once, which helps nobody. */
const sdkWaitMsMax = 60_000

function rateLimited(call: Call, { rules, costs }: Charges, refused: Refused): Error {
  const [rule, requested] = [rules[refused.index], costs[refused.index]]
  if (!rule) throw new Error('a limit refused that was not asked')
  const { unit, errorType: dimension } = dimensions[rule.dimension]
  const headers: Record<string, string> = {}
  addRateLimitHeaders(headers, rules, refused)
  const where = `${call.model.name} in ${rule.level} ${rule.scope} on ${unit}`
  if (refused.waitMs === Number.POSITIVE_INFINITY) {
    const advice = dimension === 'tokens' ? ' Lower max_tokens or shorten the input.' : ''
    const message = `Request too large for ${where}: Limit ${rule.limit}, Requested ${requested}.${advice}`
    return apiError('request_exceeds_limit', { message, dimension }, { headers })
  }
  const message =
    `Rate limit reached for ${where}: Limit ${rule.limit}, Used ${usedOf(rule, refused)}, Requested ${requested}. ` +
    `Please try again in ${goDuration(refused.waitMs)}.`
  const hint = refused.waitMs > sdkWaitMsMax ? { 'x-should-retry': 'false' } : {}
  return apiError(
    'rate_limit_exceeded',
    { message, dimension },
    { retryAfterMs: refused.waitMs, headers: { ...headers, ...hint } },
  )
}

function usedOf(rule: LimitRule, { levels, index, atMs }: Refused): number {
  const level = levels[index] ?? 0
  return rule.periodMs === 0 ? level : standing(level, rule, atMs).used
}

const namesFor = (what: string) => ({
  limit: `x-ratelimit-limit-${what}`,
  remaining: `x-ratelimit-remaining-${what}`,
  reset: `x-ratelimit-reset-${what}`,
})
const headerNames = {
  requests: { tightest: namesFor('requests'), project: namesFor('project-requests') },
  tokens: { tightest: namesFor('tokens'), project: namesFor('project-tokens') },
}

/** The tightest limit on requests and on tokens; and beside it the project's own, where it was given one. */
function addRateLimitHeaders(
  headers: Record<string, string>,
  rules: readonly LimitRule[],
  { levels, atMs }: Outcome,
): void {
  for (const [index, rule] of rules.entries()) {
    const { header } = dimensions[rule.dimension]
    if (header === null) continue
    const { tightest, project } = headerNames[header]
    const stands = standing(levels[index] ?? 0, rule, atMs)
    addIfTighter(headers, tightest, rule, stands)
    if (rule.level === 'project') addIfTighter(headers, project, rule, stands)
  }
}

function addIfTighter(
  headers: Record<string, string>,
  names: ReturnType<typeof namesFor>,
  { limit }: LimitRule,
  { remaining, resetMs }: Standing,
): void {
  if (remaining >= Number(headers[names.remaining] ?? Number.POSITIVE_INFINITY)) return
  headers[names.limit] = String(limit)
  headers[names.remaining] = String(remaining)
  headers[names.reset] = goDuration(resetMs)
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
