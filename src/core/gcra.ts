/**
 * The generic cell rate algorithm: one timestamp a counter, exact, equal to a token bucket that holds one period's worth.
 *
 * `tat` is the theoretical arrival time: the moment at which the bucket is full again. A cost moves it forward by
 * cost × period ÷ limit; a cost fits while that does not reach further than one period ahead of now. A refund moves it
 * back. Times are milliseconds of a monotonic clock, as floats: a period of a minute over a billion tokens is 60 ns.
 */

export type RateLimit = { readonly limit: number; readonly periodMs: number }

export type RateDecision =
  | { readonly fits: true; readonly tat: number }
  /** `waitMs` is Infinity when the cost alone is more than the whole limit: waiting cannot help. */
  | { readonly fits: false; readonly waitMs: number }

export function take(tat: number, cost: number, rate: RateLimit, now: number): RateDecision {
  const next = Math.max(tat, now) + (cost * rate.periodMs) / rate.limit
  const waitMs = next - now - rate.periodMs
  if (waitMs <= roundingMs) return { fits: true, tat: next }
  return { fits: false, waitMs: cost > rate.limit ? Number.POSITIVE_INFINITY : waitMs }
}

// A thousand additions of period ÷ limit may land a hair above the period: a microsecond is no favour to anyone.
const roundingMs = 1e-3

/** Gives back (negative delta) or adds what was used beyond the estimate; the counter may then be in debt. */
export const adjust = (tat: number, delta: number, rate: RateLimit, now: number): number =>
  Math.max(Math.max(tat, now) + (delta * rate.periodMs) / rate.limit, now)

/** What the `x-ratelimit-*` headers show. */
export function standing(
  tat: number,
  rate: RateLimit,
  now: number,
): { remaining: number; used: number; resetMs: number } {
  const resetMs = Math.max(0, tat - now)
  const remaining = Math.max(0, Math.floor(rate.limit - (resetMs * rate.limit) / rate.periodMs + roundingMs))
  return { remaining, used: rate.limit - remaining, resetMs }
}
