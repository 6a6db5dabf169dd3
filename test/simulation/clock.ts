/**
 * Time as the simulation has it: it passes when a step says so, and when everybody sleeps. `settle` lets all that was begun go
 * on until nothing moves; sleepers are then woken in the order of their time.
 */
type Sleeper = { readonly atMs: number; wake(): void }

/** Rounds without anything to wait for, after which somebody waits for what will never come. */
const idleRoundsMax = 1_000

export class Clock {
  /** Milliseconds since 1970, as the database has it. */
  wallMs: number
  /** As nodes measure how long something takes. */
  monotonicMs = 0
  #sleepers: Sleeper[] = []
  #underway = 0
  #quiet: (() => void) | undefined

  readonly #oversleepMs: number

  /** @param oversleepMs nobody sleeps for less, as on a machine that has too much to do */
  constructor(wallMs: number, oversleepMs: number) {
    this.wallMs = wallMs
    this.#oversleepMs = oversleepMs
  }

  readonly sleep = (ms: number): Promise<void> =>
    new Promise(wake => {
      this.#sleepers.push({ atMs: this.monotonicMs + Math.max(ms, this.#oversleepMs), wake })
      this.#sleepers.sort((a, b) => a.atMs - b.atMs)
    })

  /** Counts what goes out to the database until it has come back. */
  async track<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#underway += 1
    try {
      return await work()
    } finally {
      this.#underway -= 1
      if (this.#underway === 0) this.#quiet?.()
    }
  }

  /** @param whenQuiet what may still have to be told before time passes; true where there was something */
  async finish(work: Promise<unknown>, whenQuiet: () => Promise<boolean>): Promise<void> {
    const state = { ended: false }
    const mark = (): void => {
      state.ended = true
    }
    work.then(mark, mark)
    for (let idle = 0; !state.ended || this.#underway > 0; ) {
      await turn()
      if (this.#underway > 0) await this.#untilQuiet()
      else if (state.ended) break
      else if (await whenQuiet()) idle = 0
      else if (this.#wakeNext()) idle = 0
      else if (++idle > idleRoundsMax) throw new Error('a step waits for something that never comes')
    }
    await work
  }

  #untilQuiet(): Promise<void> {
    return new Promise(resolve => {
      this.#quiet = resolve
    })
  }

  #wakeNext(): boolean {
    const next = this.#sleepers.shift()
    if (!next) return false
    this.monotonicMs = Math.max(this.monotonicMs, next.atMs)
    next.wake()
    return true
  }
}

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
