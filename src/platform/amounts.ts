/** Dollars from the wire to nano-dollars. */
import type { UsdInput } from '#contract/amounts.ts'
import { type NanoUsd, parseUsd } from '#core/money.ts'

const decimals = 9

/** Text is exact; a number is rounded to nine decimals, which is what its shortest text would have shown. */
export const readUsd = (amount: UsdInput): NanoUsd =>
  parseUsd(typeof amount === 'string' ? amount : amount.toFixed(decimals))
