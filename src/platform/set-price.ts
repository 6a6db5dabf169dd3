/** What the operator says that a model costs: rates of their own, or the known price with a margin of its own. */
import { apiError } from '#contract/errors.ts'
import type { models } from '#contract/models.ts'
import { parsePercent } from '#core/percent.ts'
import { readDetails } from '#core/price-details.ts'
import type { Queryable } from '#storage/database.ts'
import { insertPrices, marginOf, type PriceDraft, routedModels, saveModelMargin } from '#storage/prices.ts'
import { readUsd } from './amounts.ts'
import type { Call } from './handler.ts'
import { nothingToChange } from './nothing-to-change.ts'
import { knownPricesOf } from './price-differences.ts'
import { raised } from './price-sets.ts'
import { knownPriceSource, operatorSource } from './price-sources.ts'

type Body = Call<typeof models.price>['body']

export async function setPrice(tx: Queryable, model: string, body: Body, now: Date): Promise<void> {
  const { margin_percent: percent, effective_from: from, ...rates } = body
  if (percent !== undefined) await saveModelMargin(tx, model, percent === null ? null : parsePercent(percent))
  const startsAt = from === undefined ? undefined : laterThan(now, from)
  if (Object.keys(rates).length > 0) {
    const margin = percent ? parsePercent(percent) : 0n
    return insertPrices(tx, model, raised([{ ...ownPrice(rates), startsAt }], margin), operatorSource)
  }
  if (percent === undefined) throw nothingToChange()
  if (startsAt) throw invalid('effective_from', 'A known price holds from now on: leave effective_from out.')
  await insertPrices(tx, model, await knownPrice(tx, model, now), knownPriceSource)
}

function ownPrice(body: Omit<Body, 'margin_percent' | 'effective_from'>): PriceDraft {
  const {
    input_usd_per_million: input,
    output_usd_per_million: output,
    cached_input_usd_per_million: cachedInput = input,
    ...details
  } = body
  if (input === undefined || cachedInput === undefined) throw missing('input_usd_per_million')
  if (output === undefined) throw missing('output_usd_per_million')
  return {
    input: readUsd(input),
    cachedInput: readUsd(cachedInput),
    output: readUsd(output),
    details: readDetails(details, readUsd),
  }
}

async function knownPrice(tx: Queryable, model: string, now: Date): Promise<PriceDraft[]> {
  const routed = (await routedModels(tx)).find(({ name }) => name === model)
  const known = routed && (await knownPricesOf(now)(routed))
  if (known) return raised(known.prices, await marginOf(tx, model))
  const message = `What \`${model}\` costs is not known, so there is nothing to put a margin on. Send its rates as well.`
  throw invalid('margin_percent', message)
}

function laterThan(now: Date, seconds: number): Date {
  const startsAt = new Date(seconds * 1000)
  if (startsAt > now && startsAt.getUTCFullYear() < 10_000) return startsAt
  throw invalid(
    'effective_from',
    'Prices are never changed after the fact: leave effective_from out, or send a later time.',
  )
}

const missing = (param: string): Error => apiError('missing_parameter', { param })
const invalid = (param: string, message: string): Error =>
  apiError('invalid_parameter', { param, message, code: 'invalid_value' })
