/**
 * Usage tiers: what an organization must have paid to be in one, what it may then ask a minute and a day, and the most that
 * it may spend in a calendar month. OpenAI's figures as far as they are public (2026); the rows are data, and an operator's
 * limits for an organization stand above them.
 */
import type { EveryLimit } from './limit-dimensions.ts'
import { type NanoUsd, nanoUsd } from './money.ts'

export const tierNames = ['free', '1', '2', '3', '4', '5'] as const
export type TierName = (typeof tierNames)[number]

type UsageTier = {
  /** `days` since the first payment; OpenAI asked for some until 2026. */
  readonly qualifies: { readonly paidUsd: number; readonly days: number }
  readonly monthlyCapUsd: number
  /** The first whose pattern fits a model holds; `*` stands for any text. */
  readonly limits: readonly (readonly [models: string, limits: EveryLimit])[]
}

const perMinute = (requestsPerMinute: number, tokensPerMinute: number): EveryLimit => ({
  requestsPerMinute,
  tokensPerMinute,
})

export const usageTiers = {
  free: {
    qualifies: { paidUsd: 0, days: 0 },
    monthlyCapUsd: 100,
    limits: [
      ['text-embedding-*', { ...perMinute(3_000, 1_000_000), requestsPerDay: 200, batchInputTokensPerDay: 3_000_000 }],
      ['*', { ...perMinute(3, 40_000), requestsPerDay: 200, batchInputTokensPerDay: 200_000 }],
    ],
  },
  '1': {
    qualifies: { paidUsd: 5, days: 0 },
    monthlyCapUsd: 100,
    limits: [
      ['gpt-4o', perMinute(500, 30_000)],
      ['*', perMinute(1_000, 500_000)],
    ],
  },
  '2': { qualifies: { paidUsd: 50, days: 0 }, monthlyCapUsd: 500, limits: [['*', perMinute(5_000, 1_000_000)]] },
  '3': { qualifies: { paidUsd: 100, days: 0 }, monthlyCapUsd: 1_000, limits: [['*', perMinute(5_000, 2_000_000)]] },
  '4': {
    qualifies: { paidUsd: 250, days: 0 },
    monthlyCapUsd: 5_000,
    limits: [
      ['gpt-4o', { ...perMinute(10_000, 800_000), batchInputTokensPerDay: 80_000_000 }],
      ['*', perMinute(10_000, 4_000_000)],
    ],
  },
  '5': {
    qualifies: { paidUsd: 1_000, days: 0 },
    monthlyCapUsd: 200_000,
    limits: [
      ['*-mini', { ...perMinute(30_000, 150_000_000), batchInputTokensPerDay: 15_000_000_000 }],
      ['*', { ...perMinute(10_000, 30_000_000), batchInputTokensPerDay: 5_000_000_000 }],
    ],
  },
} as const satisfies Record<TierName, UsageTier>

export const rowsOfTier = (name: TierName): UsageTier['limits'] => usageTiers[name].limits

export function limitsOfTier(name: TierName, model: string): EveryLimit {
  const row = rowsOfTier(name).find(([pattern]) => fits(pattern, model))
  if (!row) throw new Error(`tier ${name} has no row for all other models`)
  return row[1]
}

/** A pattern has one star at the most, at its beginning or its end. */
function fits(pattern: string, model: string): boolean {
  if (pattern.endsWith('*')) return model.startsWith(pattern.slice(0, -1))
  return pattern.startsWith('*') ? model.endsWith(pattern.slice(1)) : model === pattern
}

const nanoUsdPerUsd = 1_000_000_000n
const dayMs = 86_400_000
const inNanoUsd = (usd: number): NanoUsd => nanoUsd(BigInt(usd) * nanoUsdPerUsd)

export const monthlyCapOf = (name: TierName): NanoUsd => inNanoUsd(usageTiers[name].monthlyCapUsd)

export type Payments = {
  /** Everything that was ever paid. */
  readonly paid: NanoUsd
  /** Milliseconds; null: nothing was paid yet. */
  readonly sinceFirstPayment: number | null
}

/** The highest tier that an organization qualifies for. */
export const tierFor = ({ paid, sinceFirstPayment }: Payments): TierName =>
  tierNames.findLast(name => {
    const { paidUsd, days }: UsageTier['qualifies'] = usageTiers[name].qualifies
    return paid >= inNanoUsd(paidUsd) && (sinceFirstPayment ?? 0) >= days * dayMs
  }) ?? 'free'

/** The one above, or undefined at the top. */
export const nextTier = (name: TierName): TierName | undefined => tierNames[tierNames.indexOf(name) + 1]
