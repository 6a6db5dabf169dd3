/** Prices: what each model costs, what the bundled table of well-known providers says, and the operator's margin on it. */
import { z } from 'zod'
import { usdInput, usdText } from './amounts.ts'
import { type Endpoints, unixTime } from './endpoint.ts'
import { listOf, listQuery } from './lists.ts'

const tiersMax = 8
const named = <const Name extends string, Value extends z.ZodType>(names: readonly Name[], value: Value) =>
  // fromEntries() forgets the names that it was given
  z.strictObject(Object.fromEntries(names.map(name => [name, value.optional()])) as Record<Name, z.ZodOptional<Value>>)

const extraRates = [
  'cache_write',
  'cache_write_1h',
  'reasoning',
  'audio_input',
  'cached_audio_input',
  'image_input',
  'cached_image_input',
  'audio_output',
  'image_output',
] as const

export const percentText = z
  .string()
  .regex(/^\d{1,5}(\.\d{1,2})?$/, 'expected a percentage such as "50" or "12.5", with at most two decimals')

/** What a price can have beside its rates of input, cached input and output; the database holds it in another unit. */
export const priceDetails = <Amount extends z.ZodType>(amount: Amount) =>
  z.strictObject({
    rates: named(extraRates, amount).optional().describe('Per million tokens.'),
    calls: named(['web_search', 'file_search', 'code_interpreter', 'request'], amount).optional().describe('A call.'),
    units: named(['image', 'audio_hour', 'million_characters'], amount).optional(),
    long_context: z
      .array(
        z.strictObject({
          above_input_tokens: z.int().min(1),
          rates: named(['input', 'cached_input', 'output', ...extraRates], amount),
        }),
      )
      .max(tiersMax)
      .refine(tiers => tiers.every((tier, index) => above(tiers, index - 1) < tier.above_input_tokens), {
        error: 'expected rising above_input_tokens',
      })
      .optional()
      .describe('Rates that replace the others for the whole of a call whose input is above that many tokens.'),
    service_tier_percents: named(['flex', 'batch', 'priority'], percentText)
      .optional()
      .describe('What tokens cost in other service tiers, in percent.'),
  })
export type PriceDetailsOf<Amount extends z.ZodType> = z.output<ReturnType<typeof priceDetails<Amount>>>

const above = (tiers: readonly { above_input_tokens: number }[], index: number): number =>
  tiers[index]?.above_input_tokens ?? 0

export const priceDetailsInput = priceDetails(usdInput)

const timeOfDay = z.string().regex(/^\d{2}:\d{2}:\d{2}$/)

/** One dated row. */
export const price = z
  .object({
    object: z.literal('platform.price'),
    id: z.string(),
    model: z.string(),
    input_usd_per_million: usdText,
    cached_input_usd_per_million: usdText,
    output_usd_per_million: usdText,
    ...priceDetails(usdText).shape,
    effective_from: unixTime,
    hours: z
      .object({ from: timeOfDay, to: timeOfDay })
      .nullable()
      .describe('The hours of the day, in UTC, that it is charged at. Null: all that have no row of their own.'),
    margin_percent: percentText.describe('On top of the known price; it is in these rates.'),
    source: z.string(),
  })
  .meta({ id: 'Price' })

const priceChange = z.object({
  rate: z.string().describe('As a price names it, with the day and the hours before it where it is for those alone.'),
  now: z.string().nullable().describe('Dollars, or percent where `rate` says so. Null: there is none.'),
  known: z.string().nullable(),
  percent: z
    .number()
    .nullable()
    .describe('By how much it would rise; negative: fall. Null: there is nothing to compare.'),
})

const priceDifference = z
  .object({
    object: z.literal('platform.price_difference'),
    model: z.string(),
    provider: z.string(),
    source: z.string().nullable().describe('Of the price in force.'),
    margin_percent: percentText,
    kept: z.boolean().describe('Set by the operator: an update leaves it alone unless it is named in `overwrite`.'),
    changes: z.array(priceChange),
  })
  .meta({ id: 'PriceDifference' })

const margin = z
  .object({ object: z.literal('platform.price_margin'), percent: percentText })
  .meta({ id: 'PriceMargin' })
const modelsMax = 1_000
const modelNames = z.array(z.string().min(1).max(200)).max(modelsMax)

export const prices = {
  list: {
    method: 'GET',
    path: '/v1/platform/prices',
    summary: 'List the prices in force and those that are dated ahead, by model.',
    scope: 'api.platform.read',
    operatorOnly: true,
    query: listQuery,
    answer: listOf(price),
  },
  diff: {
    method: 'GET',
    path: '/v1/platform/prices/diff',
    summary: 'Compare the prices in force with the bundled table of well-known providers. Changes nothing.',
    scope: 'api.platform.read',
    operatorOnly: true,
    answer: z.object({ object: z.literal('list'), data: z.array(priceDifference) }),
  },
  update: {
    method: 'POST',
    path: '/v1/platform/prices/update',
    summary: 'Add dated rows for what the bundled table says otherwise. No row that is there changes.',
    scope: 'api.platform.write',
    operatorOnly: true,
    body: z.strictObject({
      models: modelNames.optional().describe('Left out: all.'),
      overwrite: modelNames.optional().describe('Models whose price the operator has set, and that get the known one.'),
    }),
    answer: z.object({ object: z.literal('list'), data: z.array(price) }),
  },
  margin: {
    method: 'GET',
    path: '/v1/platform/price_margin',
    summary: 'Retrieve the percentage that is put on top of known prices.',
    scope: 'api.platform.read',
    operatorOnly: true,
    answer: margin,
  },
  setMargin: {
    method: 'POST',
    path: '/v1/platform/price_margin',
    summary: 'Set the percentage that is put on top of known prices. Prices in force stay until they are updated.',
    scope: 'api.platform.write',
    operatorOnly: true,
    body: z.strictObject({ percent: percentText }),
    answer: margin,
  },
} as const satisfies Endpoints
