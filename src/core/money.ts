/**
 * Money is a bigint of nano-US-dollars, so that a float can never slip into a balance. Multiply first, round once per
 * request and upwards: a cached token at batch price can cost 2.5 nano-dollars, and rounding each would drift.
 * Floats appear only where OpenAI's wire format shows dollars as a JSON number, on the way out.
 */

export type NanoUsd = bigint & { readonly __unit: 'nano-usd' }

const nanoPerUsd = 1_000_000_000n
const decimals = 9

// The one place where a plain bigint becomes money.
export const nanoUsd = (amount: bigint): NanoUsd => amount as NanoUsd
export const zeroUsd = nanoUsd(0n)

export const addUsd = (a: NanoUsd, b: NanoUsd): NanoUsd => nanoUsd(a + b)
export const subtractUsd = (a: NanoUsd, b: NanoUsd): NanoUsd => nanoUsd(a - b)
export const smallerUsd = (a: NanoUsd, b: NanoUsd): NanoUsd => (a < b ? a : b)
export const largerUsd = (a: NanoUsd, b: NanoUsd): NanoUsd => (a > b ? a : b)

/**
 * Reads a decimal amount of dollars exactly, as in '12.5' or '0.000000001'.
 * @throws RangeError for anything else: signs, exponents, more than nine decimals, empty text.
 */
export function parseUsd(text: string): NanoUsd {
  const match = /^(\d{1,9})(?:\.(\d{1,9}))?$/.exec(text.trim())
  if (!match) throw new RangeError(`'${text}' is not an amount in dollars such as 12.50 (at most nine decimals)`)
  const fraction = (match[2] ?? '').padEnd(decimals, '0')
  return nanoUsd(BigInt(match[1] ?? '0') * nanoPerUsd + BigInt(fraction))
}

/** Exact decimal text without trailing zeros, at least two decimals: 0.00, 12.50, 0.000000042. */
export function formatUsd(amount: NanoUsd): string {
  const sign = amount < 0n ? '-' : ''
  const absolute = amount < 0n ? -amount : amount
  const fraction = (absolute % nanoPerUsd)
    .toString()
    .padStart(decimals, '0')
    .replace(/0{1,7}$/, '')
  return `${sign}${absolute / nanoPerUsd}.${fraction}`
}

/**
 * Dollars as a JSON number, for OpenAI's `amount.value`. Not for arithmetic. Of nano-dollars below 2^53, nine million dollars, it
 * is the number next to them; beyond, the last of its sixteen digits may be off by one.
 */
export const usdNumber = (nanoUsd: number): number => nanoUsd / Number(nanoPerUsd)
