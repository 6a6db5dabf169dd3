/** Usage of any length, a batch at a time: one snapshot, read through a cursor on a connection of its own. */
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

const batchRows = 1_000
const statementTimeoutMs = 120_000

/** @param take is waited for, so that no more is read than somebody takes */
export function streamUsage<Measure extends UsageMeasure>(
  database: Database,
  question: UsageQuestion<Measure>,
  take: (sums: readonly UsageSum<Measure>[]) => Promise<void>,
): Promise<void> {
  return onOwnConnection(database, statementTimeoutMs, async session => {
    await session.query(sql('begin isolation level repeatable read, read only'))
    const { statement, values } = usageStatement(question, await readMark(session))
    await session.query(sql(`declare usage_rows no scroll cursor for ${statement.text}`), values)
    for (;;) {
      const sums = await nextBatch<Measure>(session)
      if (sums.length === 0) return
      await take(sums)
    }
  })
}

async function nextBatch<Measure extends UsageMeasure>(session: Queryable): Promise<UsageSum<Measure>[]> {
  const rows = await session.query<Parameters<typeof toSum<Measure>>[0]>(
    sql(`fetch forward ${batchRows} from usage_rows`),
  )
  return rows.map(row => toSum<Measure>(row))
}
