/** Days as people write them, all in UTC. */
import { InvalidArgumentError } from 'commander'

export const daySeconds = 86_400

/** @returns the midnight with which it begins, in seconds since 1970 */
export function readDay(text: string): number {
  const ms = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN
  if (Number.isNaN(ms)) throw new InvalidArgumentError('Write a day as in 2026-11-30.')
  return ms / 1000
}
