/** Amounts that the API counts in cents, typed and shown in dollars. */
import { type NanoUsd, nanoUsd, parseUsd } from '#core/money.ts'
import { usd } from './amounts.ts'
import { wrongUsage } from './exit.ts'
import { checkUsd } from './price-options.ts'

const nanoPerCent = 10_000_000n

export function readCents(text: string): number {
  const nano: NanoUsd = parseUsd(checkUsd(text))
  if (nano % nanoPerCent !== 0n) throw wrongUsage(`'${text}' is finer than a cent. Write it as in 50 or 12.50.`)
  return Number(nano / nanoPerCent)
}

export const showCents = (cents: number): string => usd(nanoUsd(BigInt(cents) * nanoPerCent))
