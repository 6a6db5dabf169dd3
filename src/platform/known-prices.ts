/**
 * Prices of well-known providers, from a table that is bundled with Keyhouse: nothing is fetched. Read when a provider is
 * added or prices are updated, and copied into dated rows of ours, so that a new version of the table changes nobody's bill
 * by itself.
 */
import type { ConditionalPrice, ModelPrice } from '@pydantic/genai-prices'
import { type NanoUsd, nanoUsd, parseUsd, zeroUsd } from '#core/money.ts'
import { parsePercent } from '#core/percent.ts'
import type { CallKind, LongContextTier, PriceDetails, RateKind, Rates, UnitKind } from '#core/price.ts'
import type { PriceDraft } from '#storage/prices.ts'

/** What is charged from now on, at which hours, and what from a later day on. */
export type PriceLookup = (model: string) => readonly PriceDraft[] | undefined

/** Loaded on demand: the table is large, and a server may never add a provider. */
export async function knownPrices(
  provider: { name: string; baseUrl: string },
  now: Date = new Date(),
): Promise<PriceLookup> {
  const { calcPrice, findProvider } = await import('@pydantic/genai-prices')
  const known = findProvider({ providerApiUrl: provider.baseUrl }) ?? findProvider({ providerId: provider.name })
  if (!known) return () => undefined
  return model => {
    const found = calcPrice({}, model, { provider: known, timestamp: now })?.model
    if (!found) return undefined
    const listed = Array.isArray(found.prices) ? found.prices : [{ prices: found.prices }]
    const drafts = draftsFrom(listed, serviceTiersOf(known.id, found.id), now)
    // A model that is not sold by tokens has no price that we could charge by
    return drafts.some(draft => draft === undefined) ? undefined : drafts.filter(draft => draft !== undefined)
  }
}

// Dates and hours -----------------------------------------------------------------------------------------------------------

/** The table's last row that applies at a moment counts: the newest that has begun, and the hours that stand behind it. */
function draftsFrom(
  listed: readonly ConditionalPrice[],
  serviceTiers: PriceDetails['serviceTiers'],
  now: Date,
): (PriceDraft | undefined)[] {
  const begins = listed.map(({ constraint }) => beginOf(constraint))
  const later = begins.filter(begin => begin !== undefined && begin > now.getTime())
  const moments = [now.getTime(), ...new Set(later)].filter(moment => moment !== undefined)
  return moments
    .toSorted((a, b) => a - b)
    .flatMap((moment, index) => {
      const base = begins.findLastIndex(begin => begin !== undefined && begin <= moment)
      const startsAt = index === 0 ? undefined : new Date(moment)
      // A table with hours alone has its first row for all others
      return listed.slice(Math.max(base, 0)).flatMap((row, place) => {
        const hours = hoursOf(row.constraint)
        if (place > 0 && hours === undefined) return []
        const draft = toPrice(row.prices, serviceTiers)
        return [draft && { ...draft, startsAt, ...(place > 0 && { hours }) }]
      })
    })
}

/** Undefined for rows that hold at certain hours and not from a day on. */
function beginOf(constraint: ConditionalPrice['constraint']): number | undefined {
  if (constraint === undefined) return 0
  return constraint.type === 'start_date' ? Date.parse(constraint.start_date) : undefined
}

function hoursOf(constraint: ConditionalPrice['constraint']): PriceDraft['hours'] {
  if (constraint?.type !== 'time_of_date') return undefined
  return { from: constraint.start_time.slice(0, 8), to: constraint.end_time.slice(0, 8) }
}

// One row of the table ------------------------------------------------------------------------------------------------------

const rateKeys: Readonly<Record<string, RateKind>> = {
  input_mtok: 'input',
  cache_read_mtok: 'cachedInput',
  output_mtok: 'output',
  cache_write_mtok: 'cacheWrite',
  cache_write_1h_mtok: 'cacheWrite1h',
  output_reasoning_mtok: 'reasoning',
  input_audio_mtok: 'audioInput',
  cache_audio_read_mtok: 'cachedAudioInput',
  output_audio_mtok: 'audioOutput',
  input_image_mtok: 'imageInput',
  cache_image_read_mtok: 'cachedImageInput',
  output_image_mtok: 'imageOutput',
}
/** The table has dollars for a thousand calls. */
const callKeys: Readonly<Record<string, CallKind>> = {
  web_searches_kcount: 'webSearch',
  storage_searches_kcount: 'fileSearch',
  requests_kcount: 'request',
}
const unitKeys: Readonly<Record<string, UnitKind>> = {
  audio_hours: 'audioHour',
  input_audio_hours: 'audioHour',
  input_mchars: 'millionCharacters',
}

type ListedPrice = ModelPrice[string]

function toPrice(listed: ModelPrice, serviceTiers: PriceDetails['serviceTiers']): PriceDraft | undefined {
  if (listed.input_mtok === undefined) return undefined
  const { input = zeroUsd, cachedInput = input, output = zeroUsd, ...rates } = ratesAt(listed, 0)
  const calls = amountsOf(listed, callKeys, price => perCall(priceAt(price, 0)))
  const units = amountsOf(listed, unitKeys, price => usd(priceAt(price, 0)))
  const tiers = startsOf(listed).map(start => tierAt(listed, start))
  const details: PriceDetails = {
    ...(Object.keys(rates).length > 0 && { rates }),
    ...(calls && { calls }),
    ...(units && { units }),
    ...(tiers.length > 0 && { tiers }),
    ...(serviceTiers && { serviceTiers }),
  }
  // Embeddings have no output
  return { input, cachedInput, output, details: Object.keys(details).length > 0 ? details : undefined }
}

/** As the table means it: a call whose input is above `start` is charged as a whole by the prices of that tier. */
function tierAt(listed: ModelPrice, start: number): LongContextTier {
  const rates = ratesAt(listed, start + 1)
  return { aboveInputTokens: start, rates: { ...(rates.input && { cachedInput: rates.input }), ...rates } }
}

const ratesAt = (listed: ModelPrice, inputTokens: number): Partial<Rates> =>
  amountsOf(listed, rateKeys, price => usd(priceAt(price, inputTokens))) ?? {}

function amountsOf<Kind extends string>(
  listed: ModelPrice,
  keys: Readonly<Record<string, Kind>>,
  read: (price: NonNullable<ListedPrice>) => NanoUsd,
): { [Key in Kind]?: NanoUsd } | undefined {
  const amounts: { [Key in Kind]?: NanoUsd } = {}
  for (const [key, kind] of Object.entries(keys)) {
    const price = listed[key]
    if (price !== undefined) amounts[kind] = read(price)
  }
  return Object.keys(amounts).length > 0 ? amounts : undefined
}

const startsOf = (listed: ModelPrice): number[] =>
  [
    ...new Set(
      Object.values(listed).flatMap(price => (typeof price === 'object' ? price.tiers.map(tier => tier.start) : [])),
    ),
  ]
    .filter(start => start > 0)
    .sort((a, b) => a - b)

function priceAt(price: NonNullable<ListedPrice>, inputTokens: number): number {
  if (typeof price === 'number') return price
  const sorted = price.tiers.toSorted((a, b) => a.start - b.start)
  return sorted.findLast(({ start }) => inputTokens > start)?.price ?? price.base
}

const usd = (dollars: number): NanoUsd => parseUsd(dollars.toFixed(9))
const perCall = (dollarsPerThousand: number): NanoUsd => nanoUsd((usd(dollarsPerThousand) + 999n) / 1000n)

// What the table does not have: the providers' own price lists, November 2026 --------------------------------------------

/** Percent of the default tier; the first pattern that the model's name matches. */
const tierPercents: Readonly<
  Record<string, readonly (readonly [RegExp, Partial<Record<'flex' | 'batch' | 'priority', string>>])[]>
> = {
  openai: [
    [/embedding/, { batch: '50' }],
    [/audio|realtime|image|transcribe|tts|whisper|search/, {}],
    [/-pro\b|nano|gpt-3|gpt-4-|gpt-4$|^o1/, { flex: '50', batch: '50' }],
    [/^gpt-5\.5/, { flex: '50', batch: '50', priority: '250' }],
    [/^gpt-4\.1|^o3/, { flex: '50', batch: '50', priority: '175' }],
    [/^gpt-4o-mini/, { batch: '50', priority: '166.67' }],
    [/^gpt-4o/, { batch: '50', priority: '170' }],
    [/^o4-mini/, { flex: '50', batch: '50', priority: '181.82' }],
    [/^gpt-5-mini/, { flex: '50', batch: '50', priority: '180' }],
    [/^gpt-/, { flex: '50', batch: '50', priority: '200' }],
  ],
  anthropic: [[/./, { batch: '50' }]],
  google: [
    [/embedding|image|tts|live/, { batch: '50' }],
    [/^gemini-3/, { flex: '50', batch: '50', priority: '180' }],
    [/./, { batch: '50' }],
  ],
}

function serviceTiersOf(provider: string, model: string): PriceDetails['serviceTiers'] {
  const [, percents = {}] = tierPercents[provider]?.find(([pattern]) => pattern.test(model)) ?? []
  const entries = Object.entries(percents).map(([tier, percent]) => [tier, parsePercent(percent)])
  return entries.length > 0 ? Object.fromEntries(entries) : undefined
}
