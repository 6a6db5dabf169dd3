/** A page of usage as rows, for tests that compare them with what the events say. */
import type { Database, Queryable } from '#storage/database.ts'
import { type Bounds, readUsage, readUsageIn, type UsageGroup } from '#storage/usage-pages.ts'
import type { UsageMeasure, UsageQuestion } from '#storage/usage-queries.ts'

export type UsageRow = UsageGroup & { readonly [Name in UsageMeasure]: bigint } & { readonly bucket: number }

/** All of a stretch, however many pages that takes. */
export async function usageSums(
  from: Database | Queryable,
  question: UsageQuestion,
  bounds?: Bounds,
): Promise<UsageRow[]> {
  const page = await ('transaction' in from ? readUsage(from, question, bounds) : readUsageIn(from, question, bounds))
  const rows: UsageRow[] = []
  const { bucketSeconds } = question
  const begin = question.from - (question.from % bucketSeconds)
  for (let bucket = begin; bucket < page.to; bucket += bucketSeconds) {
    for (const { place, counts } of page.sumsOf(bucket)) {
      const sums = question.measures.map((name, index) => [name, BigInt(counts[index] ?? 0)])
      // Each measure that was asked for is counted
      rows.push({ ...page.groups[place], ...Object.fromEntries(sums), bucket } as UsageRow)
    }
  }
  return page.to < question.to ? [...rows, ...(await usageSums(from, { ...question, from: page.to }, bounds))] : rows
}
