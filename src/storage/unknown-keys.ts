/**
 * Anyone can make keys with a good checksum, and each one that nobody knows costs a query. So an address may try so many a
 * minute; then the database is asked only for keys that were good before, whose owners may share the address with whoever is
 * guessing. Both planes count together, each node for itself.
 */
import { LRUCache } from 'lru-cache'
import { addressBucket } from '#core/address.ts'
import type { Counters, Limit } from './counters.ts'

/** Good keys that are remembered as such, whatever changes about them. */
const goodMax = 50_000
const minuteMs = 60_000

type Counting = { readonly counters: Counters; readonly perMinuteMax: number }

const good = new WeakMap<Counters, LRUCache<string, true>>()

function goodOf(counters: Counters): LRUCache<string, true> {
  let keys = good.get(counters)
  if (!keys) {
    keys = new LRUCache({ max: goodMax })
    good.set(counters, keys)
  }
  return keys
}

const limitOf = (address: string, perMinuteMax: number): Limit => ({
  counter: `unknown-keys ${addressBucket(address)}`,
  limit: perMinuteMax,
  periodMs: minuteMs,
})

/** Milliseconds until the database may be asked for this key; 0: now. */
export function lookUpWait({ counters, perMinuteMax }: Counting, address: string, secretHash: Buffer): number {
  const waitMs = counters.local.wait(limitOf(address, perMinuteMax), 1)
  return waitMs > 0 && !goodOf(counters).has(secretHash.toString('latin1')) ? waitMs : 0
}

export function keyWasFound(counters: Counters, secretHash: Buffer): void {
  goodOf(counters).set(secretHash.toString('latin1'), true)
}

/** Counts a key that nobody knows. @returns how long the address has to wait, when it had tried too many before; else 0 */
export function keyIsUnknown({ counters, perMinuteMax }: Counting, address: string): number {
  const outcome = counters.local.take([limitOf(address, perMinuteMax)], [1])
  return outcome.fits ? 0 : outcome.waitMs
}
