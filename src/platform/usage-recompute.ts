/** Computes what was charged again. The same function that charges the calls, on what the database kept of them. */
import type { usageRecompute } from '#contract/usage-recompute.ts'
import { formatUsd, nanoUsd } from '#core/money.ts'
import type { Price } from '#core/price.ts'
import { costOf } from '#core/pricing.ts'
import { usageFromColumns } from '#core/usage.ts'
import type { Queryable } from '#storage/database.ts'
import { readPrices, toDatedPrice } from '#storage/prices.ts'
import { type ChargedRow, readCharged } from '#storage/usage-recompute.ts'
import type { Handlers } from './handler.ts'

const pageRows = 2_000
/** In one answer; about a second of work. */
const rowsMax = 20_000
const differencesMax = 100

export const usageRecomputeHandlers: Handlers<typeof usageRecompute> = {
  async retrieve({ database }, { query: { start_time, end_time, after } }) {
    const span = { from: new Date(start_time * 1000), to: new Date(end_time * 1000) }
    const tally = newTally()
    const prices = new Map<bigint, Price>()
    let next = after
    while (tally.count < rowsMax) {
      const rows = await readCharged(database, span, next, pageRows)
      await readMissing(database, prices, rows)
      for (const row of rows) add(tally, row, recompute(row, prices))
      next = rows.length < pageRows ? undefined : rows.at(-1)?.id
      if (next === undefined) break
    }
    return {
      object: 'platform.usage_recompute' as const,
      start_time,
      end_time,
      count: tally.count,
      charged_usd: formatUsd(nanoUsd(tally.charged)),
      recomputed_usd: formatUsd(nanoUsd(tally.recomputed)),
      difference_count: tally.differenceCount,
      differences: tally.differences.map(toDifference),
      next: next ?? null,
    }
  },
}

type Difference = { readonly row: ChargedRow; readonly recomputed: bigint | undefined }
type Tally = { count: number; charged: bigint; recomputed: bigint; differenceCount: number; differences: Difference[] }

const newTally = (): Tally => ({ count: 0, charged: 0n, recomputed: 0n, differenceCount: 0, differences: [] })

async function readMissing(database: Queryable, known: Map<bigint, Price>, rows: readonly ChargedRow[]): Promise<void> {
  const missing = new Set(rows.flatMap(({ price_id: id }) => (id === null || known.has(id) ? [] : [id])))
  if (missing.size === 0) return
  for (const row of await readPrices(database, [...missing])) known.set(row.id, toDatedPrice(row))
}

/** Undefined when the price row is gone. What named none cost nothing. */
function recompute(row: ChargedRow, prices: ReadonlyMap<bigint, Price>): bigint | undefined {
  if (row.price_id === null) return 0n
  const price = prices.get(row.price_id)
  return price && costOf(price, usageFromColumns(row))
}

const chargedFor = (row: ChargedRow): bigint => row.charged_nano_usd + row.overrun_nano_usd

function add(tally: Tally, row: ChargedRow, recomputed: bigint | undefined): void {
  const charged = chargedFor(row)
  tally.count += 1
  tally.charged += charged
  tally.recomputed += recomputed ?? 0n
  if (recomputed === charged) return
  tally.differenceCount += 1
  if (tally.differences.length < differencesMax) tally.differences.push({ row, recomputed })
}

const toDifference = ({ row, recomputed }: Difference) => ({
  id: row.id,
  occurred_at: row.occurred_at.toISOString(),
  model: row.model,
  price_id: row.price_id?.toString() ?? null,
  charged_usd: formatUsd(nanoUsd(chargedFor(row))),
  recomputed_usd: recomputed === undefined ? null : formatUsd(nanoUsd(recomputed)),
})
