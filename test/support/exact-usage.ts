/** Whether a page of usage says what the events say. */
import { expect } from 'vitest'
import { type Database, type Queryable, sql } from '#storage/database.ts'
import { type UsageQuestion, usageMeasures } from '#storage/usage-queries.ts'
import { usageSums } from './usage-sums.ts'

const columns: Readonly<Record<string, string>> = {
  requests: '1',
  web_search_calls: `(tool_calls ->> 'web_search')::bigint`,
  web_search_requests: `(tool_calls ? 'web_search')::integer`,
  file_search_calls: `(tool_calls ->> 'file_search')::bigint`,
  code_interpreter_calls: `(tool_calls ->> 'code_interpreter')::bigint`,
}

/** The same from the events alone, in words that share nothing with the query under test. */
async function fromEvents(tx: Queryable, question: UsageQuestion): Promise<unknown[]> {
  const { organizationId, from, to, bucketSeconds } = question
  return tx.query(
    sql(`select (floor(extract(epoch from occurred_at) / $4) * $4)::bigint as bucket, project_id, user_id, api_key_id, model,
           endpoint, coalesce(service_tier, 'default') as service_tier, coalesce(service_tier = 'batch', false) as batch,
           ${usageMeasures.map(name => `coalesce(sum(${columns[name] ?? name}), 0)::bigint as ${name}`).join(', ')}
         from usage_events where organization_id = $1 and occurred_at >= to_timestamp($2) and occurred_at < to_timestamp($3)
         group by 1, 2, 3, 4, 5, 6, 7, 8`),
    [organizationId, from, to, bucketSeconds],
  )
}

/** For comparing rows in whatever order. */
export const sorted = (rows: readonly unknown[]): string[] =>
  rows
    .map(row =>
      JSON.stringify(Object.entries(row as object).sort(), (_, value) =>
        typeof value === 'bigint' ? String(value) : value,
      ),
    )
    .sort()

/** @returns how many sums there are */
export async function expectExact(tx: Database | Queryable, question: UsageQuestion): Promise<number> {
  const read = await usageSums(tx, question)
  const expected = await fromEvents(tx, question)
  expect(sorted(read)).toEqual(
    sorted(expected.map(row => ({ ...(row as object), bucket: Number((row as { bucket: bigint }).bucket) }))),
  )
  return read.length
}
