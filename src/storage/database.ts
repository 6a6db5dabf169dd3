/**
 * PostgreSQL, one driver for the embedded server and for the user's own. Every query has a deadline, on our side and on
 * the server's; statements are prepared by name where it is hot; SQL is text with parameters, never glued from input.
 */
import pg from 'pg'

export type DatabaseSettings = {
  readonly connection: pg.PoolConfig
  readonly connectionsMax: number
  /** How long to wait for a free connection, or for the server to accept one. */
  readonly connectTimeoutMs: number
  /** How long one statement may take. */
  readonly statementTimeoutMs: number
}

/** Whatever runs statements: the pool, or one transaction of it. */
export type Queryable = {
  query<Row extends pg.QueryResultRow>(statement: Statement, values?: readonly unknown[]): Promise<Row[]>
}

export type Database = Queryable & {
  transaction<Result>(work: (tx: Queryable) => Promise<Result>): Promise<Result>
  /** A connection of its own, for LISTEN and for COPY; the caller ends it. */
  connect(): Promise<pg.Client>
  close(): Promise<void>
}

export type Statement = { readonly name?: string; readonly text: string }

/** A statement that the server plans once per connection. Names are global: one statement, one name. */
export const prepared = (name: string, text: string): Statement => ({ name, text })
export const sql = (text: string): Statement => ({ text })

const int8 = 20
const types = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') =>
    oid === int8 ? BigInt : (pg.types.getTypeParser(oid, format) as (text: string) => unknown),
}

const endMsMax = 1_000

/** A server that hangs never hears the goodbye: it is waited for a moment, then the connection is dropped. */
class Client extends pg.Client {
  override end(): Promise<void>
  override end(done: (error: Error) => void): void
  override end(done?: (error: Error) => void): Promise<void> | void {
    const { connection } = this
    const timer = setTimeout(() => connection.stream.destroy(), endMsMax)
    connection.once('end', () => clearTimeout(timer))
    return done ? super.end(done) : super.end().finally(() => clearTimeout(timer))
  }
}

export function openDatabase(settings: DatabaseSettings, onError: (error: Error) => void): Database {
  const config: pg.PoolConfig = {
    ...settings.connection,
    // pg's own type for `types` is wider than what it calls: one function from oid to parser
    types: types as pg.CustomTypesConfig,
    application_name: 'keyhouse',
    connectionTimeoutMillis: settings.connectTimeoutMs,
    statement_timeout: settings.statementTimeoutMs,
    query_timeout: settings.statementTimeoutMs + 1000,
    keepAlive: true,
  }
  const pool = new pg.Pool({ ...config, Client, max: settings.connectionsMax })
  let closing = false
  // Sockets outlive the end by a moment: what the stopping server says to them is no failure
  const report = (error: Error): void => {
    if (!closing) onError(error)
  }
  pool.on('error', report)

  return {
    query: (statement, values) => run(pool, statement, values),
    transaction: work => transact(pool, work),
    async connect() {
      const client = new Client({ ...config, query_timeout: undefined, statement_timeout: undefined })
      client.on('error', report)
      await client.connect()
      return client
    },
    close() {
      closing = true
      return pool.end()
    },
  }
}

async function run<Row extends pg.QueryResultRow>(
  runner: pg.Pool | pg.PoolClient,
  statement: Statement,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  const result = await runner.query<Row>({ ...statement, values: [...values] })
  return result.rows
}

async function transact<Result>(pool: pg.Pool, work: (tx: Queryable) => Promise<Result>): Promise<Result> {
  const client = await pool.connect()
  let broken: Error | undefined
  try {
    await client.query('begin')
    const result = await work({ query: (statement, values) => run(client, statement, values) })
    await client.query('commit')
    return result
  } catch (error) {
    // A connection that cannot even roll back is thrown away by release(error); the first error is the one that matters.
    await client.query('rollback').catch(rollbackError => {
      broken = rollbackError
    })
    throw error
  } finally {
    client.release(broken)
  }
}

/** The first row of a query that gives exactly one. */
export function only<Row>(rows: readonly Row[]): Row {
  const [row] = rows
  if (row === undefined || rows.length > 1) throw new Error(`expected one row, got ${rows.length}`)
  return row
}
