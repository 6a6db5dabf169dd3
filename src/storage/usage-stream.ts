/** Usage of any length, a batch at a time: one snapshot, read through cursors on a connection of its own. */
import { type Database, type Queryable, sql } from './database.ts'
import { onOwnConnection } from './own-connection.ts'
import {
  readMark,
  toSum,
  type UsageMeasure,
  type UsageQuestion,
  type UsageSum,
  usageStatement,
} from './usage-queries.ts'
import { segmentsOf } from './usage-segments.ts'

const batchRows = 1_000
const daySeconds = 86_400
const statementTimeoutMs = 120_000

/** @param take is waited for, so that no more is read than somebody takes */
export function streamUsage<Measure extends UsageMeasure>(
  database: Database,
  question: UsageQuestion<Measure>,
  take: (sums: readonly UsageSum<Measure>[]) => Promise<void>,
): Promise<void> {
  return onOwnConnection(database, statementTimeoutMs, async session => {
    await session.query(sql('begin isolation level repeatable read, read only'))
    const mark = await readMark(session)
    for (const part of partsOf(question)) {
      const { statement, values } = usageStatement(part, { mark, segments: segmentsOf(part) })
      await session.query(sql(`declare usage_rows no scroll cursor for ${statement.text}`), values)
      for (let sums = await nextBatch<Measure>(session); sums.length > 0; sums = await nextBatch<Measure>(session)) {
        await take(sums)
      }
      await session.query(sql('close usage_rows'))
    }
  })
}

/** A day, or a month of days: what is sorted at once, so that the first rows come soon and none waits for all. */
function partsOf<Measure extends UsageMeasure>(question: UsageQuestion<Measure>): UsageQuestion<Measure>[] {
  const seconds = question.bucketSeconds < daySeconds ? daySeconds : daySeconds * 30
  const parts: UsageQuestion<Measure>[] = []
  for (let { from } = question; from < question.to; ) {
    const to = Math.min(question.to, Math.floor(from / seconds) * seconds + seconds)
    parts.push({ ...question, from, to })
    from = to
  }
  return parts
}

async function nextBatch<Measure extends UsageMeasure>(session: Queryable): Promise<UsageSum<Measure>[]> {
  const rows = await session.query<Parameters<typeof toSum<Measure>>[0]>(
    sql(`fetch forward ${batchRows} from usage_rows`),
  )
  return rows.map(row => toSum<Measure>(row))
}
