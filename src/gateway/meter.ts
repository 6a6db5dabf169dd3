/**
 * Verb six. What was used: the provider's own numbers where it gave them; where it did not, or was cut before it could,
 * an estimate, marked as one. Never refuses.
 */
import type { ServiceTier, Usage } from '#core/usage.ts'
import { type Admission, bytesPerTokenEstimate, estimateInput } from './admit.ts'
import type { Answer, StreamTally } from './answer.ts'
import type { Call } from './call.ts'
import { targetId } from './circuits.ts'
import type { Gateway } from './gateway.ts'
import { readServiceTier, readUsage } from './read-usage.ts'

export type Metered = { readonly usage: Usage; readonly estimated: boolean }

export function meter(gateway: Gateway, call: Call, admission: Admission, answer: Answer): Metered {
  const counted = readUsage(answer.usage, call.endpoint.answers)
  const serviceTier =
    counted || answer.serviceTier !== undefined ? readServiceTier(answer.serviceTier, answer.usage) : askedTier(call)
  if (counted) {
    learnFrom(gateway, call, answer, counted)
    return { usage: { ...counted, serviceTier }, estimated: false }
  }
  const output = call.endpoint.answers ? estimateOutput(gateway, call, answer) : nothing
  const outputTokens = Math.min(output.seen + output.unseen, admission.bound.outputTokensMax)
  return {
    usage: {
      inputTokens: estimateInput(call),
      cachedInputTokens: 0,
      outputTokens,
      reasoningTokens: call.ask.stream ? Math.min(output.unseen, outputTokens) : 0,
      serviceTier,
    },
    estimated: true,
  }
}

/** Of an answer that was cut before it said as what it was served. */
const askedTier = ({ ask: { serviceTier = 'auto' } }: Call): ServiceTier =>
  serviceTier === 'auto' ? 'default' : serviceTier

function learnFrom({ paces }: Gateway, call: Call, answer: Answer, { outputTokens, reasoningTokens }: Usage): void {
  const { tally, silentMs, target } = answer
  const unseen = outputTokens - (tally ? estimateStream(tally, call.ask.choices) : 0)
  paces.learn(targetId(target), {
    silentMs,
    // Some stream what they think, and then nothing of it was unseen
    unseenTokens: Math.max(0, Math.min(unseen, reasoningTokens)),
    wholeTokens: tally ? undefined : outputTokens,
  })
}

/** In output tokens: what the answer shows, and what its provider must have done before it could be seen. */
type Output = { readonly seen: number; readonly unseen: number }
const nothing: Output = { seen: 0, unseen: 0 }

function estimateOutput({ paces }: Gateway, call: Call, { tally, tail, silentMs, target }: Answer): Output {
  const pace = targetId(target)
  if (tally) return { seen: estimateStream(tally, call.ask.choices), unseen: paces.thoughtIn(pace, silentMs) }
  if (tail.length > 0) return { seen: Math.ceil(tail.length / bytesPerTokenEstimate), unseen: 0 }
  return { seen: 0, unseen: call.ask.stream ? paces.thoughtIn(pace, silentMs) : paces.writtenIn(pace, silentMs) }
}

/**
 * An event is a token at least, and its text may be more. The smallest event shows how long an event without text is; the
 * first of each choice only names the role.
 */
function estimateStream({ events, bytes, smallestEventBytes }: StreamTally, choices: number): number {
  const textBytes = bytes - events * smallestEventBytes
  return Math.max(0, events - choices, Math.ceil(textBytes / bytesPerTokenEstimate))
}
