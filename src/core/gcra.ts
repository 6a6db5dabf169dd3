/**
 * The generic cell rate algorithm: one timestamp a counter, exact, equal to a token bucket that holds one period's worth.
 *
 * `tat` is the theoretical arrival time: the moment at which the bucket is full again. A cost moves it forward by
 * cost × period ÷ limit; a cost fits while that does not reach further than one period ahead of now. A refund moves it
 * back. Times are milliseconds as floats: a period of a minute over a billion tokens is 60 ns. Plain numbers in and out,
 * because each call asks several counters; src/storage/redis-scripts.ts does the same sums in Lua.
 */

export type RateLimit = { readonly limit: number; readonly periodMs: number }

/** Where the counter stands once this cost is taken, whether or not it fits. */
export const advance = (tat: number, cost: number, { limit, periodMs }: RateLimit, now: number): number =>
  Math.max(tat, now) + (cost * periodMs) / limit

/** How long until a cost that leads to `next` fits: 0 now, Infinity when it is more than the whole limit. */
export function waitFor(next: number, cost: number, { limit, periodMs }: RateLimit, now: number): number {
  const waitMs = next - now - periodMs
  if (waitMs <= roundingMs) return 0
  return cost > limit ? Number.POSITIVE_INFINITY : waitMs
}

// A thousand additions of period ÷ limit may land a hair above the period: a microsecond is no favour to anyone.
const roundingMs = 1e-3

/** Gives back (negative delta) or adds what was used beyond the estimate; the counter may then be in debt. */
export const adjust = (tat: number, delta: number, rate: RateLimit, now: number): number =>
  Math.max(advance(tat, delta, rate, now), now)

export type Standing = { readonly remaining: number; readonly used: number; readonly resetMs: number }

/** What the `x-ratelimit-*` headers show. */
export function standing(tat: number, { limit, periodMs }: RateLimit, now: number): Standing {
  const resetMs = Math.max(0, tat - now)
  const remaining = Math.max(0, Math.floor(limit - (resetMs * limit) / periodMs + roundingMs))
  return { remaining, used: limit - remaining, resetMs }
}
