/**
 * What one node knows of shared counters, for a Redis that comes back without knowing it: how full Redis last said that each
 * is, and what the node has given out alone. Bounded: a counter that is full again is not worth knowing.
 */
import { type Limit, RateLevels } from './counters.ts'
import type { TakeReply, Told } from './redis-link.ts'

/** Of counters whose limits are remembered, before those that are full again are forgotten. */
const limitsMax = 100_000

export class NodeKnowledge {
  /** By this node's clock. */
  readonly #seen = new RateLevels()
  readonly #limits = new Map<string, Limit>()
  #given = new RateLevels()
  /** Of the counters in `#given`, since the node last told. */
  #amounts = new Map<string, number>()
  #forgetAbove = limitsMax

  /** What is given out alone is written here: how full that leaves this node's shares, which began empty. */
  get given(): RateLevels {
    return this.#given
  }

  /** And how much it was; negative for what came back of it, which may be of what is forgotten already. */
  gave({ counter, periodMs }: Limit, amount: number): void {
    if (periodMs > 0) this.#amounts.set(counter, Math.max(0, (this.#amounts.get(counter) ?? 0) + amount))
  }

  learn(limits: readonly Limit[], { atMs, levels }: TakeReply, now: number): void {
    for (const [index, limit] of limits.entries()) {
      const level = levels[index] ?? 0
      if (limit.periodMs === 0 || level <= atMs) continue
      this.#seen.set(limit.counter, now + level - atMs, now)
      this.remember(limit, now)
    }
  }

  remember(limit: Limit, now: number): void {
    this.#limits.set(limit.counter, limit)
    if (this.#limits.size <= this.#forgetAbove) return
    for (const counter of this.#limits.keys()) if (this.#leftOf(counter, now) <= 0) this.#forget(counter)
    this.#forgetAbove = Math.max(limitsMax, this.#limits.size * 2)
  }

  #forget(counter: string): void {
    this.#limits.delete(counter)
    this.#amounts.delete(counter)
  }

  #leftOf(counter: string, now: number): number {
    return Math.max(this.#seen.get(counter) ?? 0, this.#given.get(counter) ?? 0) - now
  }

  /**
   * The node is alone from then on. What it gave out before, if it could not tell, stays known as all that it could have
   * given: somebody may have counted it in meanwhile.
   */
  beAlone(fromMs: number, now: number): void {
    const given = new RateLevels()
    for (const [counter, tat] of this.#given.entries()) {
      given.set(counter, Math.max(tat, fromMs + (this.#limits.get(counter)?.periodMs ?? 0)), now)
    }
    this.#given = given
  }

  /** All is told: nothing was given out since. */
  wasTold(): void {
    this.#given = new RateLevels()
    this.#amounts = new Map()
  }

  told(shareOf: (limit: number) => number, now: number): Told[] {
    return [...this.#limits.values()].flatMap(({ counter, limit, periodMs }) => {
      const left = (levels: RateLevels): number => Math.max(0, (levels.get(counter) ?? 0) - now)
      const [knownMs, givenMs] = [left(this.#seen), left(this.#given)]
      if (periodMs === 0 || (knownMs === 0 && givenMs === 0)) return []
      const amount = this.#amounts.get(counter) ?? 0
      return [{ counter, limit, periodMs, share: shareOf(limit), knownMs, givenMs, amount }]
    })
  }
}
