/** One connection for a long piece of work, apart from the pool: backups and restores must not take its places. */
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { type Database, type Queryable, sql } from './database.ts'

/** How much longer than the server we wait, so that its error, which says more, comes first. */
const graceMs = 1000

/** @param statementTimeoutMs deadline of each statement, here and on the server */
export async function onOwnConnection<Result>(
  database: Database,
  statementTimeoutMs: number,
  work: (session: Queryable) => Promise<Result>,
): Promise<Result> {
  const client = await database.connect()
  try {
    const session = sessionOn(client, statementTimeoutMs + graceMs)
    await session.query(sql(`set statement_timeout = ${statementTimeoutMs}`))
    // A slow reader of a backup makes us idle inside the transaction; the deadline for that is ours
    await session.query(sql('set idle_in_transaction_session_timeout = 0'))
    return await work(session)
  } finally {
    // An open transaction is rolled back by the server when its connection ends
    await Promise.race([client.end(), sleep(graceMs, undefined, { ref: false })])
  }
}

function sessionOn(client: pg.Client, queryTimeoutMs: number): Queryable {
  return {
    async query<Row extends pg.QueryResultRow>(statement: { text: string }, values: readonly unknown[] = []) {
      // pg reads query_timeout of each query; its types name it for connections only
      const config = { ...statement, values: [...values], query_timeout: queryTimeoutMs }
      const result = await client.query<Row>(config)
      return result.rows
    },
  }
}
