/**
 * The contract of rate-limit counters, and the counters of one node, in memory. All limits of a call are taken from, or none is
 * and nothing is consumed. Others that keep the contract: src/storage/shared-counters.ts, which several nodes share.
 */
import { adjust, advance, waitFor } from '#core/gcra.ts'

/** Whose name says whose it is; equal names are one counter. A period of 0 limits what is taken at one time. */
export type Limit = { readonly counter: string; readonly limit: number; readonly periodMs: number }

/**
 * Where each limit stood, in the order in which they were given: of a rate its `tat` (see core/gcra.ts) on the clock that
 * shows `atMs`, of slots how many are in use.
 */
type Standings = { readonly atMs: number; readonly levels: readonly number[] }

export type Taken = Standings & {
  readonly fits: true
  /** Of which stretch of time between two switches of counters; only memory of one node has no switches. */
  readonly era: number
  /** Names this call among those that hold slots; empty where it holds none. */
  readonly slot: string
}
export type Refused = Standings & {
  readonly fits: false
  /** The limit that needs the longest wait, and the wait: Infinity when its whole is too little. */
  readonly index: number
  readonly waitMs: number
}
export type Outcome = Taken | Refused

export type Counters = {
  /** @param costs one for each limit; what costs 0 is not asked of its counter */
  take(limits: readonly Limit[], costs: readonly number[]): Outcome | Promise<Outcome>
  /** Corrects a rate by what was really used; may be negative. */
  adjust(limit: Limit, delta: number, taken: Taken): void
  /** Gives back the slot that a call holds; once is enough, and twice does no harm. */
  free(limit: Limit, taken: Taken): void
  /** Of this node alone: for what one client address may do, which must be known at once and cost nothing. */
  readonly local: LocalCounters
}

export type LocalCounters = Omit<Counters, 'take'> & {
  take(limits: readonly Limit[], costs: readonly number[]): Outcome
  /** Whether this cost would fit, without taking it: 0, or how long it has to wait. */
  wait(limit: Limit, cost: number): number
}

/** When somebody's slot will be free nobody knows; asking again after this is no burden. */
export const slotRetryMs = 1_000
/** When there are more counters than this, those that are full again are swept on the next new one. */
const sweepAbove = 100_000

/** Counters that a bucket which is full again no longer needs are swept, so their number is bounded by what is in use. */
export class RateLevels {
  readonly #tats = new Map<string, number>()
  #sweepAt = sweepAbove
  #changes = 0

  /** Counts up with each change. */
  get changes(): number {
    return this.#changes
  }

  get(counter: string): number | undefined {
    return this.#tats.get(counter)
  }

  set(counter: string, tat: number, nowMs: number): void {
    this.#tats.set(counter, tat)
    this.#changes += 1
    if (this.#tats.size > this.#sweepAt) this.#sweep(nowMs)
  }

  entries(): IterableIterator<[string, number]> {
    return this.#tats.entries()
  }

  #sweep(nowMs: number): void {
    for (const [counter, tat] of this.#tats) if (tat <= nowMs) this.#tats.delete(counter)
    this.#sweepAt = Math.max(sweepAbove, this.#tats.size * 2)
  }
}

/** Who holds the slots of this node, by counter. */
export class Slots {
  readonly #held = new Map<string, Set<string>>()
  readonly #prefix: string
  #names = 0

  /** @param prefix sets the names of this node's slots apart from those of others */
  constructor(prefix = '') {
    this.#prefix = prefix
  }

  newName(): string {
    this.#names += 1
    return this.#prefix + this.#names
  }

  inUse(counter: string): number {
    return this.#held.get(counter)?.size ?? 0
  }

  hold(counter: string, slot: string): void {
    const held = this.#held.get(counter)
    if (held) held.add(slot)
    else this.#held.set(counter, new Set([slot]))
  }

  free(counter: string, slot: string): boolean {
    const held = this.#held.get(counter)
    if (!held?.delete(slot)) return false
    if (held.size === 0) this.#held.delete(counter)
    return true
  }

  entries(): IterableIterator<[string, ReadonlySet<string>]> {
    return this.#held.entries()
  }
}

export type MemoryOptions = {
  /** Default: new ones. */
  readonly levels?: RateLevels
  readonly slots?: Slots
  /** What a rate begins with that was never asked for, given its period; default 0: a full bucket. */
  readonly firstTat?: (periodMs: number) => number
  /** What this node may give out of a limit; default: all. */
  readonly shareOf?: (limit: number) => number
  readonly era?: number
}

/** @param now milliseconds of a clock that never goes back */
export function memoryCounters(now: () => number, options: MemoryOptions = {}): LocalCounters {
  const { levels = new RateLevels(), slots = new Slots(), firstTat = () => 0, shareOf, era = 0 } = options
  const shared = (limit: Limit): Limit => {
    const own = shareOf ? shareOf(limit.limit) : limit.limit
    return own === limit.limit ? limit : { ...limit, limit: own }
  }
  const tatOf = ({ counter, periodMs }: Limit): number => levels.get(counter) ?? firstTat(periodMs)
  const levelOf = (limit: Limit): number => (limit.periodMs === 0 ? slots.inUse(limit.counter) : tatOf(limit))

  const next = (limit: Limit, level: number, cost: number, at: number): number =>
    limit.periodMs === 0 ? level + cost : advance(level, cost, limit, at)
  const waitOf = (limit: Limit, after: number, cost: number, at: number): number => {
    if (limit.periodMs !== 0) return waitFor(after, cost, limit, at)
    if (after <= limit.limit) return 0
    return cost > limit.limit ? Number.POSITIVE_INFINITY : slotRetryMs
  }

  const commit = (limits: readonly Limit[], costs: readonly number[], after: readonly number[], at: number): string => {
    let slot = ''
    for (let index = 0; index < limits.length; index += 1) {
      const limit = limits[index]
      if (!limit || costs[index] === 0) continue
      if (limit.periodMs === 0) {
        if (slot === '') slot = slots.newName()
        slots.hold(limit.counter, slot)
      } else levels.set(limit.counter, after[index] ?? 0, at)
    }
    return slot
  }

  const counters: LocalCounters = {
    // Loops over indexes: every call comes through here, and the arrays are small and already there
    take(limits, costs) {
      const at = now()
      const before: number[] = []
      const after: number[] = []
      let [tightest, waitMs] = [-1, 0]
      for (let index = 0; index < limits.length; index += 1) {
        const [whole, cost = 0] = [limits[index], costs[index]]
        if (!whole) break
        const limit = shared(whole)
        const level = levelOf(limit)
        const reached = cost === 0 ? level : next(limit, level, cost, at)
        before.push(level)
        after.push(reached)
        const wait = cost === 0 ? 0 : waitOf(limit, reached, cost, at)
        if (wait > waitMs) [tightest, waitMs] = [index, wait]
      }
      if (tightest >= 0) return { fits: false, atMs: at, levels: before, index: tightest, waitMs }
      return { fits: true, atMs: at, levels: after, era, slot: commit(limits, costs, after, at) }
    },
    adjust(whole, delta) {
      const at = now()
      const limit = shared(whole)
      // Nothing was given out of nothing
      if (limit.limit > 0) levels.set(limit.counter, adjust(tatOf(limit), delta, limit, at), at)
    },
    free(limit, { slot }) {
      slots.free(limit.counter, slot)
    },
    wait(whole, cost) {
      const at = now()
      const limit = shared(whole)
      return waitOf(limit, next(limit, levelOf(limit), cost, at), cost, at)
    },
    get local() {
      return counters
    },
  }
  return counters
}
