/**
 * Writes one consistent snapshot of an installation while the server runs, without pg_dump (the embedded PostgreSQL
 * brings none). The format is in backup-format.ts.
 *
 * All tables are read in one read-only transaction of its own connection, through a cursor, a batch at a time and no
 * faster than the sink takes it. Calls go on meanwhile. What is in no table is in no backup: usage that still waits in a
 * node's journal, and the weights of local models.
 */
import type { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import {
  type BackupHeader,
  BackupRefused,
  backupFormat,
  type Digest,
  headerLine,
  newDigest,
  rowLine,
  tableLine,
  trailerLine,
} from './backup-format.ts'
import { packSecrets } from './backup-secrets.ts'
import { type BackupTable, backupTables, quoted, readSchemaNumber, readTables } from './backup-tables.ts'
import { type Database, type Queryable, sql } from './database.ts'
import { onOwnConnection } from './own-connection.ts'
import type { Secrets } from './secrets.ts'

export type BackupOptions = {
  readonly database: Database
  /** In the clear inside the file unless there is a passphrase: then the file must be kept like a secret. */
  readonly secrets: Secrets
  readonly passphrase?: string
  readonly now: Date
  /** Keyhouse's, for the reader of the file. */
  readonly version: string
  /** How long the sink may take nothing; a snapshot that stays open keeps PostgreSQL from cleaning up. */
  readonly stallTimeoutMs?: number
}

export type BackupReport = { readonly tables: number; readonly rows: number }

const fetchRows = 1000
const statementTimeoutMs = 60_000
const stallTimeoutMsUsual = 60_000

/**
 * Ends the sink when all is written. Nothing is written before the snapshot stands, so an error up to there can still be
 * answered; later ones destroy the sink, and the file lacks its last line.
 * @throws BackupRefused when the sink stalls or the passphrase is empty.
 */
export async function writeBackup(options: BackupOptions, sink: Writable): Promise<BackupReport> {
  const { packed, signingKey } = await packSecrets(options.secrets, options.passphrase)
  return onOwnConnection(options.database, statementTimeoutMs, async session => {
    await beginSnapshot(session)
    const header: BackupHeader = {
      format: backupFormat,
      keyhouse: options.version,
      schema: await readSchemaNumber(session),
      created_at: options.now.toISOString(),
      tables: (await readTables(session)).map(({ name, columns }) => ({ name, columns: [...columns] })),
      secrets: packed,
    }
    const counts = new Map<string, number>()
    await send(backupText(session, header, newDigest(signingKey), counts), sink, options)
    return { tables: counts.size, rows: [...counts.values()].reduce((sum, rows) => sum + rows, 0) }
  })
}

/** The locks come before the snapshot: a TRUNCATE (a restore) between the two would show through it as empty tables. */
async function beginSnapshot(session: Queryable): Promise<void> {
  await session.query(sql('begin isolation level repeatable read, read only'))
  await session.query(sql(`lock table ${quoted(backupTables)} in access share mode`))
  await session.query(sql("set local timezone = 'UTC'"))
}

async function* backupText(
  session: Queryable,
  header: BackupHeader,
  digest: Digest,
  counts: Map<string, number>,
): AsyncGenerator<string> {
  const digested = (text: string): string => {
    digest.update(text)
    return text
  }
  yield digested(headerLine(header))
  for (const { name, columns } of header.tables) {
    yield digested(tableLine(name))
    let count = 0
    for await (const rows of rowsOf(session, { name, columns })) {
      count += rows.length
      yield digested(rows.map(rowLine).join(''))
    }
    counts.set(name, count)
  }
  yield trailerLine({ rows: Object.fromEntries(counts), digest: digest.digest('hex') })
}

async function* rowsOf(session: Queryable, { name, columns }: BackupTable): AsyncGenerator<string[]> {
  const table = `(select ${quoted(columns)} from ${quoted([name])})`
  await session.query(sql(`declare rows_of no scroll cursor for select row_to_json(t)::text as row from ${table} t`))
  for (;;) {
    const rows = await session.query<{ row: string }>(sql(`fetch forward ${fetchRows} from rows_of`))
    if (rows.length === 0) break
    yield rows.map(({ row }) => row)
  }
  await session.query(sql('close rows_of'))
}

/** The pipeline waits for the sink; the timer waits for the pipeline. */
async function send(text: AsyncGenerator<string>, sink: Writable, options: BackupOptions): Promise<void> {
  const stallTimeoutMs = options.stallTimeoutMs ?? stallTimeoutMsUsual
  const stalled = new AbortController()
  const stop = (): void =>
    stalled.abort(
      new BackupRefused(`The backup was given up: nobody took any of it for ${stallTimeoutMs / 1000} seconds.`),
    )
  const timer = setTimeout(stop, stallTimeoutMs)
  const watched = async function* (chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      timer.refresh()
      yield chunk
    }
  }
  try {
    await pipeline(text, createGzip(), watched, sink, { signal: stalled.signal })
  } catch (error) {
    throw stalled.signal.aborted ? stalled.signal.reason : error
  } finally {
    clearTimeout(timer)
  }
}
