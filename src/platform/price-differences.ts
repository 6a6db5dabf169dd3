/** The prices in force beside those of the bundled table, with the operator's margin on them: what an update would change. */
import { formatUsd, nanoUsd } from '#core/money.ts'
import { formatPercent } from '#core/percent.ts'
import type { Queryable } from '#storage/database.ts'
import {
  allPricesInForce,
  modelMargins,
  type PriceDraft,
  type PriceRow,
  type RoutedModel,
  readMargin,
  routedModels,
} from '#storage/prices.ts'
import { knownPrices, type PriceLookup } from './known-prices.ts'
import { draftOf, isSameSet, raised, ratesOf, rowsThatCount } from './price-sets.ts'
import { knownPriceSource } from './price-sources.ts'

export type PriceDifference = {
  readonly model: string
  readonly provider: string
  readonly marginBasisPoints: bigint
  readonly source: string | null
  /** Set by the operator, or nominal: left alone unless it is named. */
  readonly kept: boolean
  readonly now: readonly PriceDraft[]
  readonly known: readonly PriceDraft[]
}

export async function priceDifferences(database: Queryable, now: Date): Promise<PriceDifference[]> {
  const models = await routedModels(database)
  const rows = Map.groupBy(await allPricesInForce(database), row => row.model)
  const [margin, margins] = [await readMargin(database), await modelMargins(database)]
  const lookUp = knownPricesOf(now)
  const differences: PriceDifference[] = []
  for (const model of models) {
    const found = await lookUp(model)
    if (!found) continue
    const marginBasisPoints = margins.get(model.name) ?? margin
    const known = raised(found.prices, marginBasisPoints)
    const current = rows.get(model.name) ?? []
    if (!isSameSet(current, known)) {
      differences.push({ ...standing(current), model: model.name, provider: found.provider, marginBasisPoints, known })
    }
  }
  return differences
}

function standing(rows: readonly PriceRow[]): Pick<PriceDifference, 'source' | 'kept' | 'now'> {
  const source = rows.find(row => row.in_force)?.source ?? null
  return { source, kept: source !== null && source !== knownPriceSource, now: rowsThatCount(rows).map(draftOf) }
}

type Found = { readonly provider: string; readonly prices: readonly PriceDraft[] }

/** Of the first provider whose prices the table has. Each provider is looked up once. */
export function knownPricesOf(now: Date): (model: RoutedModel) => Promise<Found | undefined> {
  const lookUps = new Map<string, Promise<PriceLookup>>()
  return async ({ routes }) => {
    for (const { provider, base_url: baseUrl, upstream_model: upstreamModel } of routes) {
      if (baseUrl === null) continue
      const lookUp = lookUps.get(provider) ?? knownPrices({ name: provider, baseUrl }, now)
      lookUps.set(provider, lookUp)
      const prices = (await lookUp)(upstreamModel)
      if (prices) return { provider, prices }
    }
    return undefined
  }
}

export const toDifference = (difference: PriceDifference) => ({
  object: 'platform.price_difference' as const,
  model: difference.model,
  provider: difference.provider,
  source: difference.source,
  margin_percent: formatPercent(difference.marginBasisPoints),
  kept: difference.kept,
  changes: changesOf(difference),
})

function changesOf({ now, known }: PriceDifference) {
  const [before, after] = [ratesOfSet(now), ratesOfSet(known)]
  return [...new Set([...before.keys(), ...after.keys()])].flatMap(rate => {
    const [was, is] = [before.get(rate), after.get(rate)]
    return was === is ? [] : [{ rate, now: was ?? null, known: is ?? null, percent: riseOf(was, is) }]
  })
}

/** For display: by how many percent, to two decimals. */
function riseOf(was: string | undefined, is: string | undefined): number | null {
  if (was === undefined || is === undefined || Number(was) === 0) return null
  return Math.round((Number(is) / Number(was) - 1) * 10_000) / 100
}

/** Every rate of the set as it is read by people, under a name that says when it holds. */
function ratesOfSet(prices: readonly PriceDraft[]): Map<string, string> {
  const rates = new Map<string, string>()
  for (const price of prices) {
    const day = price.startsAt ? `from ${price.startsAt.toISOString().slice(0, 10)} ` : ''
    const hours = price.hours ? `${price.hours.from}-${price.hours.to} ` : ''
    for (const [name, amount] of ratesOf(price)) {
      rates.set(`${day}${hours}${name}`, name.startsWith('percent ') ? amount : formatUsd(nanoUsd(BigInt(amount))))
    }
  }
  return rates
}
