/** A real PostgreSQL with our schema for one test file: the embedded one, in a directory of its own. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Database, openDatabase } from '#storage/database.ts'
import { type PostgresConnection, startEmbeddedPostgres } from '#storage/embedded-postgres.ts'
import { migrate } from '#storage/migrate.ts'

export type TestDatabase = {
  readonly database: Database
  readonly connection: PostgresConnection
  stop(): Promise<void>
}

const connectionsMax = 8
const timeoutMs = 20_000

export async function testDatabase(): Promise<TestDatabase> {
  // Short, because sockets live below it
  const home = await mkdtemp(join(tmpdir(), 'kh-'))
  const remove = (): Promise<void> => rm(home, { recursive: true, force: true, maxRetries: 5 })
  try {
    const socketDirectory = await mkdtemp(join(home, 'run-'))
    const postgres = await startEmbeddedPostgres({
      directory: join(home, 'postgres'),
      socketDirectory,
      log: () => undefined,
    })
    const { connection } = postgres
    const database = openDatabase(
      { connection, connectionsMax, connectTimeoutMs: timeoutMs, statementTimeoutMs: timeoutMs },
      () => undefined,
    )
    await migrate(database)
    return {
      database,
      connection,
      async stop() {
        await database.close()
        await postgres.stop()
        await remove()
      },
    }
  } catch (error) {
    await remove()
    throw error
  }
}
