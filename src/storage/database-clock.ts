/**
 * What time it is, for all nodes alike: the database's clock, learned from the answers to the polls that every node makes
 * anyway. Keys expire by it, so a machine whose own clock is a minute off lets no key live a minute longer.
 *
 * It is as exact as an answer travels: the database read its clock at some moment between the question and its answer, and
 * we take the middle. Between answers a monotonic clock goes on, which nobody sets. It goes backwards only when the
 * database's clock was really set back: what has expired does not come back because one answer travelled slower.
 */

import type { Trouble } from '#contract/troubles.ts'

export type ToldTime = {
  /** When we asked and when the answer came, by the monotonic clock. */
  readonly askedAtMs: number
  readonly answeredAtMs: number
  /** What the database's clock said in between, in milliseconds since 1970. */
  readonly toldAtMs: number
}

/** How far off a machine's clock may be before somebody should hear of it. */
const skewMsMax = 5_000
/** An answer that took longer, because this process was stopped for instance, says too little about now. */
const travelMsMax = 1_000
/** Answers that travelled differently may differ so much; more is a clock that was set. */
const setBackMsMin = 1_000

export class DatabaseClock {
  readonly #now: () => number
  readonly #wallClock: () => number
  readonly #off: Trouble
  /** Database time minus monotonic time; undefined until the first answer. */
  #offsetMs: number | undefined
  #latestMs = Number.NEGATIVE_INFINITY

  /**
   * @param now milliseconds of a monotonic clock
   * @param wallClock this machine's milliseconds since 1970: what holds until the first answer
   * @param off while this machine's clock differs by more than five seconds
   */
  constructor(now: () => number, wallClock: () => number, off: Trouble) {
    this.#now = now
    this.#wallClock = wallClock
    this.#off = off
  }

  /** Milliseconds since 1970. */
  nowMs = (): number => {
    const atMs = this.#offsetMs === undefined ? this.#wallClock() : Math.round(this.#now() + this.#offsetMs)
    const wasSetBack = this.#latestMs - atMs >= setBackMsMin
    this.#latestMs = wasSetBack ? atMs : Math.max(atMs, this.#latestMs)
    return this.#latestMs
  }

  /** How much this machine's clock is ahead of the database's; negative when it is behind. */
  get skewMs(): number {
    return this.#offsetMs === undefined ? 0 : Math.round(this.#wallClock() - this.#now() - this.#offsetMs)
  }

  hear = ({ askedAtMs, answeredAtMs, toldAtMs }: ToldTime): void => {
    if (this.#offsetMs !== undefined && answeredAtMs - askedAtMs > travelMsMax) return
    this.#offsetMs = toldAtMs - (askedAtMs + answeredAtMs) / 2
    if (Math.abs(this.skewMs) > skewMsMax) this.#off.began(describe(this.skewMs))
    else this.#off.over()
  }
}

const describe = (skewMs: number): string =>
  `it is ${Math.abs(Math.round(skewMs / 1000))} s ${skewMs > 0 ? 'ahead of' : 'behind'} the database's`
