/**
 * Verb six. What was used: the provider's own numbers where it gave them; where it did not, or was cut before it could,
 * an estimate, marked as one. Never refuses.
 */
import type { ServiceTier, Usage } from '#core/usage.ts'
import { type Admission, bytesPerTokenEstimate, estimateInput } from './admit.ts'
import type { Answer, StreamTally } from './answer.ts'
import type { Call } from './call.ts'
import { readServiceTier, readUsage } from './read-usage.ts'

export type Metered = { readonly usage: Usage; readonly estimated: boolean }

export function meter(call: Call, admission: Admission, answer: Answer): Metered {
  const counted = readUsage(answer.usage, call.endpoint.answers)
  const serviceTier =
    counted || answer.serviceTier !== undefined ? readServiceTier(answer.serviceTier, answer.usage) : askedTier(call)
  if (counted) return { usage: { ...counted, serviceTier }, estimated: false }
  const outputTokens = Math.min(estimateOutput(call, answer), admission.bound.outputTokensMax)
  return {
    usage: {
      inputTokens: estimateInput(call),
      cachedInputTokens: 0,
      outputTokens,
      reasoningTokens: 0,
      serviceTier,
    },
    estimated: true,
  }
}

/** Of an answer that was cut before it said as what it was served. */
const askedTier = ({ ask: { serviceTier = 'auto' } }: Call): ServiceTier =>
  serviceTier === 'auto' ? 'default' : serviceTier

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
