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
  const counted = readUsage(answer.usage)
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

/** OpenAI's usage object, in the old names and the new. Undefined when its numbers cannot be believed. */
export function readUsage(value: unknown): TokenUsage | undefined {
  const usage = object(value)
  const inputTokens = count(usage?.prompt_tokens ?? usage?.input_tokens)
  if (!usage || inputTokens === undefined) return undefined
  const total = count(usage.total_tokens)
  const stated = count(usage.completion_tokens ?? usage.output_tokens)
  const cached = object(usage.prompt_tokens_details ?? usage.input_tokens_details)?.cached_tokens
  const reasoning = object(usage.completion_tokens_details ?? usage.output_tokens_details)?.reasoning_tokens
  return {
    inputTokens,
    cachedInputTokens: Math.min(count(cached) ?? 0, inputTokens),
    outputTokens: stated ?? Math.max(0, (total ?? inputTokens) - inputTokens),
    reasoningTokens: count(reasoning) ?? 0,
  }
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
