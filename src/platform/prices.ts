/** Prices of all models: in force, against the bundled table, brought up to it, and the operator's margin. */
import type { usdText } from '#contract/amounts.ts'
import type { PriceDetailsOf, prices } from '#contract/prices.ts'
import { formatUsd, type NanoUsd, nanoUsd } from '#core/money.ts'
import { formatPercent, parsePercent } from '#core/percent.ts'
import { writeDetails } from '#core/price-details.ts'
import {
  currentPrices,
  insertPrices,
  listPrices,
  type PriceRow,
  parseDetails,
  readMargin,
  saveMargin,
} from '#storage/prices.ts'
import { changeCatalogue } from './catalogue-change.ts'
import { existingModel } from './existing-model.ts'
import type { Handlers } from './handler.ts'
import { toList, unixSeconds } from './page.ts'
import { type PriceDifference, priceDifferences, toDifference } from './price-differences.ts'
import { knownPriceSource } from './price-sources.ts'

export const priceHandlers: Handlers<typeof prices> = {
  async list({ database }, { query }) {
    return toList(await listPrices(database, query), toPrice, row => row.id.toString())
  },

  async diff({ database, wallClock }) {
    const differences = await priceDifferences(database, new Date(wallClock()))
    return { object: 'list' as const, data: differences.map(toDifference) }
  },

  async update(parts, call) {
    const { models, overwrite = [] } = call.body
    return changeCatalogue(parts, call, async tx => {
      for (const name of [...(models ?? []), ...overwrite]) await existingModel(tx, name)
      const wanted = (await priceDifferences(tx, new Date(parts.wallClock()))).filter(isWanted(models, overwrite))
      const rows: PriceRow[] = []
      for (const { model, known } of wanted) {
        await insertPrices(tx, model, known, knownPriceSource)
        rows.push(...(await currentPrices(tx, model)))
      }
      return {
        answer: { object: 'list' as const, data: rows.map(toPrice) },
        requested: { price_update: { models: wanted.map(({ model }) => model), overwrite } },
      }
    })
  },

  async margin({ database }) {
    return toMargin(await readMargin(database))
  },

  async setMargin(parts, call) {
    const basisPoints = parsePercent(call.body.percent)
    return changeCatalogue(parts, call, async tx => {
      await saveMargin(tx, basisPoints)
      return { answer: toMargin(basisPoints), requested: { price_margin: { percent: formatPercent(basisPoints) } } }
    })
  },
}

const isWanted =
  (models: readonly string[] | undefined, overwrite: readonly string[]) =>
  ({ model, kept }: PriceDifference): boolean =>
    overwrite.includes(model) || (!kept && (models === undefined || models.includes(model)))

const toMargin = (basisPoints: bigint) => ({
  object: 'platform.price_margin' as const,
  percent: formatPercent(basisPoints),
})

const dollars = (amount: NanoUsd): string => formatUsd(amount)

export const toPrice = (row: PriceRow) => ({
  object: 'platform.price' as const,
  id: row.id.toString(),
  model: row.model,
  ...toRates(row),
  effective_from: unixSeconds(row.effective_from),
  hours: row.daily_from !== null && row.daily_to !== null ? { from: row.daily_from, to: row.daily_to } : null,
  margin_percent: formatPercent(BigInt(row.margin_basis_points)),
  source: row.source,
})

export const toRates = (
  row: Pick<
    PriceRow,
    | 'id'
    | 'model'
    | 'details'
    | 'input_nano_usd_per_million'
    | 'cached_input_nano_usd_per_million'
    | 'output_nano_usd_per_million'
  >,
) => ({
  input_usd_per_million: dollars(nanoUsd(row.input_nano_usd_per_million)),
  cached_input_usd_per_million: dollars(nanoUsd(row.cached_input_nano_usd_per_million)),
  output_usd_per_million: dollars(nanoUsd(row.output_nano_usd_per_million)),
  // Its names are the schema's, from which they were read
  ...(writeDetails(parseDetails(row), dollars) as PriceDetailsOf<typeof usdText>),
})
