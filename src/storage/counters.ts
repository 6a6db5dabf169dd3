/**
 * Rate-limit counters of one node, in memory. All dimensions of a call commit, or none does and nothing is consumed.
 * Bounded: a counter whose bucket is full again equals no counter, and is swept.
 */
import { adjust, type RateLimit, standing, take } from '#core/gcra.ts'

export type Charge = { readonly counter: string; readonly rate: RateLimit; readonly cost: number }

export type Refusal<C extends Charge> = { readonly charge: C; readonly waitMs: number; readonly used: number }

export type Standing = { readonly remaining: number; readonly resetMs: number }

export type Counters = {
  /** Undefined when all of it fitted and was taken; else the charge that needs the longest wait. */
  take<C extends Charge>(charges: readonly C[]): Refusal<C> | undefined
  /** Corrects an earlier charge by what was really used; may be negative. */
  adjust(charge: Charge, delta: number): void
  standing(charge: Charge): Standing
}

/** When there are more counters than this, those that are full again are swept on the next new one. */
const sweepAbove = 100_000

/** @param now milliseconds of a monotonic clock */
export function memoryCounters(now: () => number): Counters {
  const tats = new Map<string, number>()
  let sweepAt = sweepAbove

  const sweep = (at: number): void => {
    for (const [counter, tat] of tats) if (tat <= at) tats.delete(counter)
    sweepAt = Math.max(sweepAbove, tats.size * 2)
  }

  return {
    take(charges) {
      const at = now()
      const next: number[] = []
      let refusal: Refusal<(typeof charges)[number]> | undefined
      for (const charge of charges) {
        const tat = tats.get(charge.counter) ?? 0
        const decision = take(tat, charge.cost, charge.rate, at)
        if (decision.fits) next.push(decision.tat)
        else if (!refusal || decision.waitMs > refusal.waitMs)
          refusal = { charge, waitMs: decision.waitMs, used: standing(tat, charge.rate, at).used }
      }
      if (refusal) return refusal
      for (const [index, charge] of charges.entries()) tats.set(charge.counter, next[index] ?? 0)
      if (tats.size > sweepAt) sweep(at)
      return undefined
    },
    adjust(charge, delta) {
      const at = now()
      tats.set(charge.counter, adjust(tats.get(charge.counter) ?? 0, delta, charge.rate, at))
    },
    standing: charge => standing(tats.get(charge.counter) ?? 0, charge.rate, now()),
  }
}
