/**
 * Brings the database to this version's schema. Each file of migrations/ runs once, in order, in a transaction of its
 * own, under an advisory lock: several nodes that start at once wait for one another. A database that a newer Keyhouse
 * has written is refused, since we cannot know what its tables mean.
 */
import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type pg from 'pg'
import type { Database } from './database.ts'

const folder = fileURLToPath(new URL('./migrations/', import.meta.url))
const lockKey = 4150927000
/** How long a start waits for another node's migrations. */
const lockTimeoutMs = 60_000

export class SchemaTooNew extends Error {
  constructor(found: number, known: number) {
    super(
      `The database was written by a newer Keyhouse (schema ${found}; this version knows ${known}). ` +
        'Start that version, or restore a backup of this one.',
    )
    this.name = 'SchemaTooNew'
  }
}

export async function migrate(database: Database): Promise<{ from: number; to: number }> {
  const files = (await readdir(folder)).filter(name => /^\d{4}-.*\.sql$/.test(name)).sort()
  const client = await database.connect()
  try {
    await client.query(`set lock_timeout = ${lockTimeoutMs}`)
    await client.query('select pg_advisory_lock($1)', [lockKey])
    await client.query(
      'create table if not exists schema_migrations (number integer primary key, name text not null, applied_at timestamptz not null default now())',
    )
    const from = await currentSchema(client)
    const known = files.length
    if (from > known) throw new SchemaTooNew(from, known)
    for (const [index, name] of files.entries()) {
      if (index + 1 > from) await apply(client, index + 1, name)
    }
    return { from, to: known }
  } finally {
    await client.end()
  }
}

async function currentSchema(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ number: number }>(
    'select coalesce(max(number), 0) as number from schema_migrations',
  )
  return rows[0]?.number ?? 0
}

async function apply(client: pg.Client, number: number, name: string): Promise<void> {
  await client.query('begin')
  try {
    await client.query(await readFile(folder + name, 'utf8'))
    await client.query('insert into schema_migrations (number, name) values ($1, $2)', [number, name])
    await client.query('commit')
  } catch (error) {
    await client.query('rollback')
    throw new Error(`migration ${name} failed: ${error instanceof Error ? error.message : error}`, { cause: error })
  }
}
