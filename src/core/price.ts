/**
 * A price: a dated row of integer nano-dollars per million tokens, never changed. A usage record names the row it was
 * charged with, so that any bill can be computed again.
 */
import type { NanoUsd } from './money.ts'
import type { ServiceTier } from './usage.ts'

export type Price = {
  readonly id: string
  readonly inputNanoUsdPerMillion: NanoUsd
  /** Input tokens that the provider had in its cache; they are part of the input tokens. */
  readonly cachedInputNanoUsdPerMillion: NanoUsd
  readonly outputNanoUsdPerMillion: NanoUsd
  /** What a price of plain text has none of. */
  readonly details?: PriceDetails | undefined
}

export const inputKinds = [
  'input',
  'cachedInput',
  'cacheWrite',
  'cacheWrite1h',
  'audioInput',
  'cachedAudioInput',
  'imageInput',
  'cachedImageInput',
] as const
export const outputKinds = ['output', 'reasoning', 'audioOutput', 'imageOutput'] as const
export type RateKind = (typeof inputKinds | typeof outputKinds)[number]

/** Nano-dollars per million tokens of each kind. */
export type Rates = { readonly [Kind in RateKind]: NanoUsd }

/** Nano-dollars a call. */
export const callKinds = ['webSearch', 'fileSearch', 'codeInterpreter', 'request'] as const
export type CallKind = (typeof callKinds)[number]

/** Nano-dollars for one of each; for endpoints that do not count tokens. */
export const unitKinds = ['image', 'audioHour', 'millionCharacters'] as const
export type UnitKind = (typeof unitKinds)[number]

export type PriceDetails = {
  readonly rates?: Partial<Rates>
  readonly calls?: { readonly [Kind in CallKind]?: NanoUsd }
  readonly units?: { readonly [Kind in UnitKind]?: NanoUsd }
  /** Rates that replace the others for the whole call once its input is above that many tokens. Rising. */
  readonly tiers?: readonly LongContextTier[]
  /** Hundredths of a percent of what tokens cost in the default tier; left out: the same. Calls of tools cost what they do. */
  readonly serviceTiers?: { readonly [Tier in ServiceTier]?: bigint }
}

export type LongContextTier = { readonly aboveInputTokens: number; readonly rates: Partial<Rates> }

/** When a row is charged by: from a moment on, and where `daily` is there, at those hours of the day in UTC. */
export type DatedPrice = Price & {
  readonly startsAtMs: number
  readonly daily?: { readonly fromSecond: number; readonly toSecond: number } | undefined
}

const dayMs = 86_400_000

/**
 * The row to charge by: of the newest that have begun, the one for this hour, else the one for all hours.
 * @param prices the newest first, those for certain hours before those for all
 */
export function priceAt(prices: readonly DatedPrice[], nowMs: number): DatedPrice | null {
  for (const price of prices) if (price.startsAtMs <= nowMs && isHourOf(price, nowMs)) return price
  return null
}

function isHourOf({ daily }: DatedPrice, nowMs: number): boolean {
  if (!daily) return true
  const second = (nowMs % dayMs) / 1000
  const { fromSecond, toSecond } = daily
  return fromSecond <= toSecond ? second >= fromSecond && second < toSecond : second >= fromSecond || second < toSecond
}
