/**
 * Verb three. Rate limits in every dimension, all or none; then a hold for the most that the call can cost, against the
 * credit and every spend limit that applies. Refuses with 429. What it takes here is corrected, and what it holds is
 * settled, when the call has ended, however it ends.
 */
import { apiError } from '#contract/errors.ts'
import { type CostBound, mostItCanCost, outputCovered } from '#core/pricing.ts'
import { accountsOf } from '#core/spending.ts'
import type { Call } from './call.ts'
import type { JsonObject } from './endpoints/ask.ts'
import type { Gateway } from './gateway.ts'
import { hostedToolsIn } from './hosted-tools.ts'
import { type LimitsTaken, takeLimits } from './limits.ts'
import type { Amounts } from './purse.ts'
import type { Hold } from './wallets.ts'

export type Admission = {
  readonly hold: Hold
  readonly limits: LimitsTaken
  readonly bound: Bound
  /** Output tokens that the client had asked for, where less credit than that was left. */
  readonly clampedFrom: number | null
}

/** The most that a call can use. `outputTokensEach` is the bound that goes upstream, where one has to be sent. */
export type Bound = {
  readonly inputTokensMax: number
  readonly outputTokensMax: number
  readonly outputTokensEach: number | null
  /** Of each answer, beside that bound: what was predicted and does not come true. */
  readonly predictedTokensMax: number
  readonly serviceTier: CostBound['serviceTier']
  readonly toolCallsMax: number
}

/** A byte-pair token is seldom shorter than this, in bytes; for estimates only, never for what is held. */
export const bytesPerTokenEstimate = 4

export async function admit(gateway: Gateway, call: Call): Promise<Admission> {
  if (gateway.journal.refusal) throw apiError('storage_full', { what: gateway.journal.refusal })
  const taken = takeLimits(gateway, call, estimateTokens(call))
  const limits = taken instanceof Promise ? await taken : taken
  try {
    const bound = boundOf(gateway, call)
    const amounts = amountsOf(gateway, call, bound)
    const reserved = gateway.wallets.reserve(accountsOf(call.grant, call.beganAtMs), amounts)
    const hold = reserved instanceof Promise ? await reserved : reserved
    if (hold.amount === amounts.most) return { hold, limits, bound, clampedFrom: null }
    const clampedFrom = bound.outputTokensMax / call.ask.choices - bound.predictedTokensMax
    return { hold, limits, bound: clamped(call, bound, hold), clampedFrom }
  } catch (error) {
    // A refused call consumes nothing
    limits.undo()
    throw error
  }
}

/** Every prompt byte can be a token; the body's own syntax is longer than what chat templates add. */
export function boundOf(gateway: Gateway, { body, ask, model, endpoint }: Call): Bound {
  const attached = (ask.attachments ?? 0) * attachmentTokensMax
  const inputTokensMax =
    body.raw.length +
    templateTokensMax +
    toolTemplate(body.parsed) +
    Math.min(attached, model.contextTokensMax ?? Number.POSITIVE_INFINITY)
  const toolCallsMax = hostedToolsIn(body.parsed).length === 0 ? 0 : hostedToolCallsMax
  const predictedTokensMax = ask.predictedBytes ?? 0
  const whole = { inputTokensMax, serviceTier: ask.serviceTier, toolCallsMax, predictedTokensMax }
  if (!endpoint.answers) return { ...whole, outputTokensMax: 0, outputTokensEach: null }
  const known = ask.outputTokens ?? model.outputTokensMax ?? model.contextTokensMax
  const each = known ?? gateway.settings.outputTokensDefault
  const mustSend = ask.outputTokens !== null || known === null
  return {
    ...whole,
    outputTokensMax: (each + predictedTokensMax) * ask.choices,
    outputTokensEach: mustSend ? each : null,
  }
}

const templateTokensMax = 64
/** What some providers tell a model beside them of how tools are called: Anthropic up to 735 tokens, and charges for it. */
const toolTemplateTokensMax = 800
const toolTemplate = ({ tools = null, functions = null }: JsonObject): number =>
  tools === null && functions === null ? 0 : toolTemplateTokensMax
/** The dearest that an image is known to be: of the largest size, in full detail, to gpt-4o-mini. A longer file is borne as overrun. */
const attachmentTokensMax = 50_000
/** What an image mostly is; for estimates only. */
const attachmentTokensEstimate = 1_000
/** Searches and the like that a model is held to make in one answer; what it makes beyond is borne as overrun. */
const hostedToolCallsMax = 10

/** Where the rest of the credit covers less than the whole answer, an answer of this length is still worth having. */
function amountsOf({ settings }: Gateway, { price, ask, endpoint }: Call, bound: Bound): Amounts {
  const most = mostItCanCost(price, bound)
  const useful = (settings.clampedOutputTokensMin + bound.predictedTokensMax) * ask.choices
  if (!endpoint.answers || settings.clampedOutputTokensMin === 0 || useful >= bound.outputTokensMax) {
    return { most, least: most }
  }
  return { most, least: mostItCanCost(price, { ...bound, outputTokensMax: useful }) }
}

/** The whole bound again, with as much output as the hold covers. */
function clamped({ price, ask }: Call, bound: Bound, hold: Hold): Bound {
  const each = Math.floor(outputCovered(price, bound, hold.amount) / ask.choices)
  return { ...bound, outputTokensMax: each * ask.choices, outputTokensEach: each - bound.predictedTokensMax }
}

export const estimateInput = ({ body, ask }: Call): number =>
  Math.ceil(body.raw.length / bytesPerTokenEstimate) + (ask.attachments ?? 0) * attachmentTokensEstimate

const estimateTokens = (call: Call): number => estimateInput(call) + (call.ask.outputTokens ?? 0) * call.ask.choices
