/** Price sets: the rows of one model that were made together. Compared here with those in force, and raised by a margin. */
import { type NanoUsd, nanoUsd } from '#core/money.ts'
import { addMargin, withMargin, writeDetails } from '#core/price-details.ts'
import { type PriceDraft, type PriceRow, parseDetails } from '#storage/prices.ts'

/** The same prices with that many hundredths of a percent on top, and a note of them in each row. */
export const raised = (prices: readonly PriceDraft[], marginBasisPoints: bigint): PriceDraft[] =>
  prices.map(price => ({
    ...price,
    input: addMargin(price.input, marginBasisPoints),
    cachedInput: addMargin(price.cachedInput, marginBasisPoints),
    output: addMargin(price.output, marginBasisPoints),
    details: withMargin(price.details, marginBasisPoints),
    marginBasisPoints,
  }))

export const draftOf = (row: PriceRow): PriceDraft => ({
  input: nanoUsd(row.input_nano_usd_per_million),
  cachedInput: nanoUsd(row.cached_input_nano_usd_per_million),
  output: nanoUsd(row.output_nano_usd_per_million),
  details: parseDetails(row),
  ...(!row.in_force && { startsAt: row.effective_from }),
  ...(row.daily_from !== null && row.daily_to !== null && { hours: { from: row.daily_from, to: row.daily_to } }),
  marginBasisPoints: BigInt(row.margin_basis_points),
})

/** Whether all that is charged, now and later, is the same; when a row that is in force began does not matter. */
export function isSameSet(rows: readonly PriceRow[], prices: readonly PriceDraft[]): boolean {
  const now = rowsThatCount(rows).map(draftOf).map(fingerprint).sort()
  return JSON.stringify(now) === JSON.stringify(prices.map(fingerprint).sort())
}

/** Without those of the set that what was dated ahead has replaced by now. */
export function rowsThatCount(rows: readonly PriceRow[]): PriceRow[] {
  const began = rows.find(row => row.in_force)?.effective_from.getTime()
  return rows.filter(row => !row.in_force || row.effective_from.getTime() === began)
}

const fingerprint = ({ startsAt, hours, ...price }: PriceDraft): string =>
  JSON.stringify([startsAt ?? null, hours ?? null, [...ratesOf(price)].sort()])

/** Every amount by its name, as decimal text of nano-dollars; what differs from set to set is exactly what is listed. */
export function ratesOf({ input, cachedInput, output, details }: PriceDraft): Map<string, string> {
  const written = writeDetails(details, (amount: NanoUsd) => amount.toString())
  const named = (group: string, amounts: { readonly [name: string]: string | undefined } = {}): [string, string][] =>
    Object.entries(amounts).map(([name, amount]) => [`${group}${name}`, amount ?? ''])
  return new Map([
    ['input', input.toString()],
    ['cached_input', cachedInput.toString()],
    ['output', output.toString()],
    ...named('', written.rates),
    ...named('call ', written.calls),
    ...named('unit ', written.units),
    ...(written.long_context ?? []).flatMap(tier => named(`above ${tier.above_input_tokens} `, tier.rates)),
    ...named('percent ', written.service_tier_percents),
  ])
}
