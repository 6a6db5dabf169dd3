/**
 * How fast each target works where nobody can see it: what a model thinks before it speaks, and what it writes of an answer
 * that comes whole. Learned from the provider's own numbers of calls that ended, for estimates of calls that were cut: in time
 * that passed in silence it did about as much as it usually does. What was never seen to think is not charged for thinking.
 */
import { LRUCache } from 'lru-cache'

/** What the provider counted of a call, and how much of that nobody saw coming. */
export type Seen = {
  /** The longest time in which it said nothing. */
  readonly silentMs: number
  /** Thought in that time. */
  readonly unseenTokens: number
  /** All of it, where the answer came whole; undefined for a stream. */
  readonly wholeTokens: number | undefined
}

/** In tokens a second. */
type Pace = { thinking: number; writing: number }

const targetsMax = 1_000
/** A silence that is shorter says more about the network. */
const silenceMsMin = 200
/** How much the newest call counts. */
const weight = 1 / 8

export class Paces {
  readonly #known = new LRUCache<string, Pace>({ max: targetsMax })

  learn(target: string, { silentMs, unseenTokens, wholeTokens }: Seen): void {
    if (silentMs < silenceMsMin) return
    const seconds = silentMs / 1_000
    const known = this.#known.get(target)
    const thinking = unseenTokens / seconds
    const writing = wholeTokens === undefined ? known?.writing : wholeTokens / seconds
    this.#known.set(target, {
      thinking: mixed(known?.thinking, thinking),
      writing: mixed(known?.writing, writing ?? 0),
    })
  }

  /** @returns tokens; none of a target of which nothing is known */
  thoughtIn(target: string, silentMs: number): number {
    return tokensIn(this.#known.get(target)?.thinking, silentMs)
  }

  writtenIn(target: string, silentMs: number): number {
    return tokensIn(this.#known.get(target)?.writing, silentMs)
  }
}

const mixed = (before: number | undefined, now: number): number =>
  before === undefined || before === 0 ? now : before + (now - before) * weight

const tokensIn = (pace = 0, ms: number): number => Math.round((pace * ms) / 1_000)
