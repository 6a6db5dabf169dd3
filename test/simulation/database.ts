/**
 * The simulation's database: a real PostgreSQL with the real schema, in which `now()` is the simulation's clock. The clock is
 * a sequence, because those are seen by everybody at once; `now` of a schema that is named before pg_catalog hides the real
 * one, in the migrations' defaults too.
 */
import pg from 'pg'
import { type Database, openDatabase, sql } from '#storage/database.ts'
import { migrate } from '#storage/migrate.ts'
import { testDatabase } from '../support/postgres.ts'

export type SimulatedDatabase = {
  readonly database: Database
  setClock(ms: number): Promise<void>
  stop(): Promise<void>
}

const name = 'simulation'
const connectionsMax = 12
const timeoutMs = 20_000

const clock = `
  create schema simulation;
  create sequence simulation.clock;
  create function simulation.now() returns timestamptz language sql stable as
    $$ select to_timestamp((select last_value from simulation.clock) / 1000.0) $$;`

export async function simulatedDatabase(): Promise<SimulatedDatabase> {
  const server = await testDatabase()
  await server.database.query(sql(`create database ${name}`))
  await server.database.query(sql(`alter database ${name} set search_path = simulation, pg_catalog, public`))
  // The simulation kills nodes, never PostgreSQL: what a crash of it leaves is another test's
  await server.database.query(sql(`alter database ${name} set synchronous_commit = off`))
  const connection = { ...server.connection, database: name }
  await define(connection)
  const settings = { connection, connectionsMax, connectTimeoutMs: timeoutMs, statementTimeoutMs: timeoutMs }
  const database = openDatabase(settings, () => undefined)
  await migrate(database)
  return {
    database,
    async setClock(ms) {
      await database.query(sql(`select setval('simulation.clock', $1)`), [Math.floor(ms)])
    },
    async stop() {
      await database.close()
      await server.stop()
    },
  }
}

async function define(connection: pg.ClientConfig): Promise<void> {
  const client = new pg.Client({ ...connection, connectionTimeoutMillis: timeoutMs, query_timeout: timeoutMs })
  await client.connect()
  try {
    await client.query(clock)
  } finally {
    await client.end()
  }
}
