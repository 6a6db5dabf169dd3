/**
 * Verb six. What was used: the provider's own numbers where it gave them; where it did not, or was cut before it could,
 * an estimate, marked as one. Never refuses.
 */
import type { TokenUsage } from '#core/pricing.ts'
import { type Admission, bytesPerTokenEstimate } from './admit.ts'
import type { Answer, StreamTally } from './answer.ts'
import type { Call } from './call.ts'

export type Metered = { readonly usage: TokenUsage; readonly estimated: boolean }

export function meter(call: Call, admission: Admission, answer: Answer): Metered {
  const counted = readUsage(answer.usage, call.endpoint.answers)
  if (counted) return { usage: counted, estimated: false }
  const outputTokens = Math.min(estimateOutput(call, answer), admission.bound.outputTokensMax)
  return {
    usage: {
      inputTokens: Math.ceil(call.body.raw.length / bytesPerTokenEstimate),
      cachedInputTokens: 0,
      outputTokens,
      reasoningTokens: 0,
    },
    estimated: true,
  }
}

/** OpenAI's usage object, in the old names and the new. Undefined when any number that costs cannot be believed. */
function readUsage(value: unknown, answers: boolean): TokenUsage | undefined {
  const usage = object(value)
  if (!usage) return undefined
  const inputTokens = count(usage.prompt_tokens ?? usage.input_tokens)
  if (inputTokens === undefined) return undefined
  const outputTokens = answers ? readOutput(usage, inputTokens) : 0
  if (outputTokens === undefined) return undefined
  const cached = object(usage.prompt_tokens_details ?? usage.input_tokens_details)?.cached_tokens
  const reasoning = object(usage.completion_tokens_details ?? usage.output_tokens_details)?.reasoning_tokens
  return {
    inputTokens,
    cachedInputTokens: Math.min(count(cached) ?? 0, inputTokens),
    outputTokens,
    reasoningTokens: Math.min(count(reasoning) ?? 0, outputTokens),
  }
}

/** As it is stated; where only the total is, what the input leaves of it. */
function readOutput(usage: Record<string, unknown>, inputTokens: number): number | undefined {
  const stated = usage.completion_tokens ?? usage.output_tokens
  if (stated !== undefined && stated !== null) return count(stated)
  const total = count(usage.total_tokens)
  return total === undefined ? undefined : count(total - inputTokens)
}

const object = (value: unknown): Record<string, unknown> | undefined =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined

const countMax = 2 ** 31 - 1

function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= countMax ? value : undefined
}

function estimateOutput(call: Call, answer: Answer): number {
  if (answer.tally) return estimateStream(answer.tally, call.ask.choices)
  return call.endpoint.answers ? Math.ceil(answer.tail.length / bytesPerTokenEstimate) : 0
}

/**
 * An event is a token at least, and its text may be more. The smallest event shows how long an event without text is; the
 * first of each choice only names the role.
 */
function estimateStream({ events, bytes, smallestEventBytes }: StreamTally, choices: number): number {
  const textBytes = bytes - events * smallestEventBytes
  return Math.max(0, events - choices, Math.ceil(textBytes / bytesPerTokenEstimate))
}
