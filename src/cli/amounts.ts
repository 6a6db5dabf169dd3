/** Amounts as people read them: dollars to the last digit that counts, never 1e-7; tokens in groups of three; times in UTC. */
import { formatUsd, type NanoUsd, nanoUsd } from '#core/money.ts'
import { wrongUsage } from './exit.ts'

const nanoPerUsd = 1e9
const decimalsMin = 2

/** Dollars as the API sends them: exact decimal text, or a JSON number where OpenAI's shape has one. */
export function readUsd(value: string | number): NanoUsd {
  if (typeof value === 'number') return nanoUsd(BigInt(Math.round(value * nanoPerUsd)))
  const match = /^(-?)(\d+)(?:\.(\d{1,9}))?$/.exec(value)
  if (!match) throw new Error(`The server sent '${value}' where an amount in dollars belongs.`)
  const [, sign, whole = '0', fraction = ''] = match
  const nano = BigInt(whole) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0'))
  return nanoUsd(sign === '-' ? -nano : nano)
}

export function usd(amount: NanoUsd): string {
  const text = formatUsd(amount)
  return text.startsWith('-') ? `-$${text.slice(1)}` : `$${text}`
}

/** As many decimals as the finest amount of a column needs, so that the points stand under each other. */
export function usdAligned(amounts: readonly NanoUsd[]): (amount: NanoUsd) => string {
  const decimals = Math.max(decimalsMin, ...amounts.map(amount => (formatUsd(amount).split('.')[1] ?? '').length))
  return amount => {
    const [whole = '', fraction = ''] = usd(amount).split('.')
    return `${whole}.${fraction.padEnd(decimals, '0')}`
  }
}

export const count = (value: number): string => value.toLocaleString('en-US')

const byteUnits = ['B', 'kB', 'MB', 'GB', 'TB'] as const

export function bytes(value: number): string {
  const power = value < 1 ? 0 : Math.min(byteUnits.length - 1, Math.floor(Math.log10(value) / 3))
  const scaled = value / 1000 ** power
  return `${power === 0 || scaled >= 100 ? Math.round(scaled) : scaled.toFixed(1)} ${byteUnits[power]}`
}

/** @param seconds since 1970, as the API counts */
export const dateTime = (seconds: number): string =>
  new Date(seconds * 1000).toISOString().slice(0, 16).replace('T', ' ')

const spans = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
] as const

export function duration(seconds: number): string {
  const span = spans.find(([, length]) => seconds >= length)
  return span ? `${Math.floor(seconds / span[1])} ${span[0]}` : `${Math.max(0, Math.floor(seconds))} s`
}

export const ago = (seconds: number | null, nowMs: number): string =>
  seconds === null ? 'never' : `${duration(nowMs / 1000 - seconds)} ago`

const secondsOf: Record<string, number> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 }

/** Reads `30d`, `12h`, `90m`, `45s`, `2w`. */
export function parseDuration(text: string): number {
  const match = /^(\d{1,9})([smhdw])$/.exec(text)
  const seconds = Number(match?.[1]) * (secondsOf[match?.[2] ?? ''] ?? Number.NaN)
  if (!(seconds > 0)) throw wrongUsage(`'${text}' is not a duration. Write a number and a unit, as in 30d, 12h or 90m.`)
  return seconds
}
