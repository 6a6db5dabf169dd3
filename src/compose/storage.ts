/** Where everything is kept: the data directory, the database, the journal; and what an earlier run left in them. */
import { homedir } from 'node:os'
import { join } from 'node:path'
import type pg from 'pg'
import type { Log } from '#observe/log.ts'
import type { Closers } from '#src/closers.ts'
import type { Config } from '#src/config.ts'
import { keepDatabase } from '#src/keep-database.ts'
import { nodeId } from '#src/node-id.ts'
import { takeUpUnusedNodes } from '#src/unused-nodes.ts'
import {
  type DataDirectory,
  openDataDirectory,
  openWorkerDirectory,
  usualDataDirectory,
} from '#storage/data-directory.ts'
import { type Database, openDatabase } from '#storage/database.ts'
import { Journal } from '#storage/journal.ts'
import { closeLeasesOf } from '#storage/leases.ts'
import { migrate } from '#storage/migrate.ts'
import { keepRejected } from '#storage/rejected.ts'
import { loadSecrets, type Secrets } from '#storage/secrets.ts'
import { ensureUsagePartitions, settleUsageRecords } from '#storage/usage.ts'
import { type Base, isLeader, wallClock } from './base.ts'

export type Storage = {
  readonly directory: DataDirectory
  readonly secrets: Secrets
  readonly database: Database
  /** Where that is, for those who keep connections of their own. */
  readonly connection: pg.PoolConfig
  readonly journal: Journal
  readonly node: string
}

const replayMs = 60_000
const segmentBytesMax = 8 * 1024 * 1024
/** What was not delivered stays on the disk, and a connection that hangs is dropped. */
const partMs = 1_000
const partitionsEveryMs = 3_600_000

export async function openStorage(base: Base): Promise<Storage> {
  const { config, log, closing, seat, onError, troubles } = base
  const { values } = config
  const directory = seat ? await openWorkerDirectory(seat.shared, seat.worker) : await openOwnDirectory(config)
  closing.add('data directory', () => directory.release())
  const given = { pepper: values['key-pepper'], sealingKey: values['sealing-key'] }
  const secrets = await loadSecrets(directory.paths.secrets, given)
  const connection =
    seat?.connection ??
    (await keepDatabase(values['database-url'], directory, {
      log,
      closing,
      down: troubles.of('embedded_database_down'),
    }))
  const database = openDatabase(
    {
      connection,
      connectionsMax: values['database-connections-max'],
      connectTimeoutMs: values['database-timeout-ms'],
      statementTimeoutMs: values['database-timeout-ms'],
    },
    // That it is away is said by those who cannot wait for the next try
    err => log.debug({ err }, 'a database connection failed'),
  )
  closing.add('database', () => database.close(), partMs)
  const { from, to } = await migrate(database).catch(error => explainDatabase(values['database-url'], error))
  if (from !== to) log.info({ from, to }, 'database migrated')
  await keepPartitions(database, closing, onError)
  const node = await nodeId(directory.paths.node)
  const open = (folder: string): Promise<Journal> => openJournal(base, directory, folder, database)
  const journal = await open(directory.paths.journal)
  closing.add('journal', () => journal.close(), partMs)
  await reconcile(database, journal, node, log)
  if (isLeader(base)) {
    await takeUpUnusedNodes(directory.path, values.workers, open, (left, id) => reconcile(database, left, id, log))
  }
  return { directory, secrets, database, connection, journal, node }
}

export function openOwnDirectory({ values }: Config): Promise<DataDirectory> {
  const machine = { env: process.env, platform: process.platform, home: homedir() }
  return openDataDirectory(values['data-dir'] || usualDataDirectory(machine))
}

/** Node's and PostgreSQL's words for a server that cannot be reached, or does not let us in. */
const unusable = /^(E[A-Z]+|08...|28...|3D000|57P03)$/

function explainDatabase(databaseUrl: string, error: Error & { code?: string }): never {
  if (databaseUrl === '' || !unusable.test(error.code ?? '')) throw error
  throw new Error(
    `The PostgreSQL that DATABASE_URL (database-url) names cannot be used: ${error.message}. Start it, mend the setting, ` +
      'or leave it out to use the embedded one.',
    { cause: error },
  )
}

/** Made at the start and every hour for the days ahead, so that no call ever waits for it. */
async function keepPartitions(database: Database, closing: Closers, onError: Base['onError']): Promise<void> {
  const ensure = () => ensureUsagePartitions(database, new Date(wallClock()))
  await ensure()
  const timer = setInterval(() => {
    ensure().catch(error => onError('the next days of the usage table could not be made', error))
  }, partitionsEveryMs)
  closing.add('partitions', () => clearInterval(timer))
}

function openJournal(base: Base, { path }: DataDirectory, folder: string, database: Database): Promise<Journal> {
  const { values } = base.config
  const settings = {
    directory: folder,
    segmentBytesMax,
    bytesMax: values['journal-bytes-max'],
  }
  const rejected = keepRejected(join(path, 'rejected-usage.log'), base.onError)
  return Journal.open(settings, records => settleUsageRecords(database, records, rejected), {
    unwritable: base.troubles.of('journal_unwritable'),
    undelivered: base.troubles.of('usage_waiting'),
    onError: base.onError,
  })
}

/** What an earlier run could not finish: first its journal, then the leases that nothing in the journal speaks for. */
async function reconcile(database: Database, journal: Journal, node: string, log: Log): Promise<void> {
  const { waiting } = journal.report()
  await journal.flush(replayMs)
  const leases = await closeLeasesOf(database, node)
  if (waiting > 0 || leases > 0) log.info({ usage_records: waiting, leases }, 'took up what the last run left')
}
