/** What came back from a provider, as far as settling needs to know. */
import type { Target } from '#core/catalogue.ts'
import type { Outcome } from '#storage/usage.ts'
import type { CallCut } from './active-calls.ts'

/** What was seen of a stream, to estimate from when the provider's numbers never came. */
export type StreamTally = { readonly events: number; readonly bytes: number; readonly smallestEventBytes: number }

export type Answer = {
  readonly target: Target
  readonly outcome: Outcome
  /** The provider's own `usage` object, as it stood in the answer. */
  readonly usage: unknown
  /** As what it says that it served the call, beside the usage. */
  readonly serviceTier: unknown
  /** Of a stream that was relayed; undefined for an answer that came whole. */
  readonly tally: StreamTally | undefined
  /** The longest time in which the provider was at work and said nothing: what a model thinks unseen, it thinks then. */
  readonly silentMs: number
  /** Headers of an answer that came whole and has yet to begin; undefined for a stream, which has begun. */
  readonly head: Record<string, string> | undefined
  /** The end of the answer, which leaves only after the usage is on disk. */
  readonly tail: Buffer
  readonly firstByteMs: number | null
  /** What the caller is told instead, of a call that was cut before its answer began. */
  readonly refusal?: CallCut
}
