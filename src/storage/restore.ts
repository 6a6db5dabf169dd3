/**
 * Puts a backup in the place of everything that the database holds, in one transaction, while the server runs.
 *
 * The backup is received and checked whole before a table is touched. Then all tables are locked: calls with a cached grant
 * and a lease in hand go on, everything else waits or is refused until the commit. Whatever goes wrong, nothing has changed.
 * At the end every node is told to forget what it knows. What becomes of money in use stands in restore-money.ts.
 *
 * The secrets of the backup replace those of this installation (`adoptSecrets`): a server that runs on with others knows no
 * key of the backup.
 */
import { tmpdir } from 'node:os'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { recordAuthEvent } from './auth-events.ts'
import { type BackupHeader, BackupRefused, damaged } from './backup-format.ts'
import { type OpenBackup, openBackup } from './backup-reader.ts'
import { openSpool, type Spool } from './backup-spool.ts'
import { type BackupTable, backupTables, quoted, readSchemaNumber, readTables } from './backup-tables.ts'
import { type Database, type Queryable, sql } from './database.ts'
import { onOwnConnection } from './own-connection.ts'
import { checkLedger, closeRestoredLeases, keepLiveLeases, reviveLiveLeases } from './restore-money.ts'
import type { Secrets } from './secrets.ts'
import { rebuildUsageRollups } from './usage-rollups.ts'

export type RestoreOptions = {
  readonly database: Database
  readonly passphrase?: string
  /** Has room for the backup as it is sent. */
  readonly spoolDirectory?: string
  /** Called when the backup has been checked whole and no table is touched yet: the moment to stop calls. Sees its header. */
  readonly beforeReplace?: (header: BackupHeader) => Promise<void>
  /**
   * Called when all is loaded and checked, just before the commit: the place to refuse the backup's secrets, or to write
   * them where the next start finds them. When it throws, nothing is restored.
   */
  readonly adoptSecrets?: (secrets: Secrets) => Promise<void>
  /** Called in the transaction that replaces everything, as its last change: what is to be on record of it. */
  readonly beforeCommit?: (tx: Queryable) => Promise<void>
  /** How long the source may give nothing. */
  readonly stallTimeoutMs?: number
}

export type RestoreReport = {
  readonly tables: number
  readonly rows: number
  readonly schema: number
  readonly secrets: Secrets
}

/** For one batch, but also for checking a ledger of years. */
const statementTimeoutMs = 600_000
const stallTimeoutMsUsual = 60_000
/**
 * Children before parents, as an insert locks them; and first of all the two tables with which settling usage and growing a
 * lease begin, so that they wait there with empty hands.
 */
const lockOrder = [...new Set(['usage_events', 'ledger_accounts', ...backupTables.toReversed()])]
/** Others wait behind us meanwhile. Far below PostgreSQL's deadlock_timeout (1 s), so that nobody else is ended for us. */
const lockTimeoutMs = 200
const lockPauseMs = 50
/** As in migrations/0005-usage.sql. */
const rollUpLock = 4150927011
/** Twenty seconds of trying, the pauses included. */
const lockAttemptsMax = 80
/** Whoever changes keys meanwhile may hold the lock of the events, but not for long. */
const eventLockTimeoutMs = 10_000

/** @throws BackupRefused with the reason in one sentence; the database is then as it was. Does not destroy the source. */
export async function restoreBackup(options: RestoreOptions, source: Readable): Promise<RestoreReport> {
  const spool = await openSpool(options.spoolDirectory ?? tmpdir(), options.stallTimeoutMs ?? stallTimeoutMsUsual)
  try {
    const header = await receive(options, spool, source)
    await options.beforeReplace?.(header)
    const backup = await openBackup(spool.read(), options.passphrase)
    return await onOwnConnection(options.database, statementTimeoutMs, session => replace(session, backup, options))
  } catch (error) {
    throw explained(error)
  } finally {
    await spool.close()
  }
}

/** To the end, so that the digest has been compared, but nothing of it is used yet. */
async function receive(options: RestoreOptions, spool: Spool, source: Readable): Promise<BackupHeader> {
  const { header, batches } = await openBackup(spool.receive(source), options.passphrase)
  await fittingTables(options.database, header)
  for await (const _ of batches);
  return header
}

/** @throws BackupRefused when the backup was not made of tables like ours. */
async function fittingTables(database: Queryable, { schema, keyhouse, tables }: BackupHeader): Promise<BackupTable[]> {
  const ours = await readSchemaNumber(database)
  if (schema > ours) {
    throw new BackupRefused(
      `The backup was written by a newer Keyhouse (${keyhouse}, schema ${schema}; this version knows ${ours}): restore it with that version.`,
    )
  }
  if (schema < ours) {
    throw new BackupRefused(
      `The backup was written by an older Keyhouse (${keyhouse}, schema ${schema}; this version has ${ours}): restore it with that version, then start this one on the same database.`,
    )
  }
  const known = await readTables(database)
  if (JSON.stringify(known) !== JSON.stringify(tables)) throw damaged()
  return known
}

async function replace(session: Queryable, backup: OpenBackup, options: RestoreOptions): Promise<RestoreReport> {
  await beginLocked(session)
  const tables = await fittingTables(session, backup.header)
  await keepLiveLeases(session)
  const rows = await loosened(session, async () => {
    await session.query(sql(`truncate ${quoted(backupTables)}`))
    await session.query(sql('truncate call_payloads'))
    return insertAll(session, tables, backup)
  })
  await rebuildUsageRollups(session)
  for (const table of tables) await advanceIdentities(session, table)
  await checkLedger(session)
  await closeRestoredLeases(session)
  await reviveLiveLeases(session)
  await options.beforeCommit?.(session)
  await options.adoptSecrets?.(backup.secrets)
  await recordAuthEvent(session, 'everything', '')
  await session.query(sql('commit'))
  return { tables: tables.length, rows, schema: backup.header.schema, secrets: backup.secrets }
}

/** Who still takes these locks in another order is let through, and we try again: there is nothing to lose yet. */
async function beginLocked(session: Queryable): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await session.query(sql('begin'))
      await session.query(sql(`set local lock_timeout = ${lockTimeoutMs}`))
      // Who rolls up or seals usage has it, and would wait for the tables that we lock while we wait for what it has
      await session.query(sql(`select pg_advisory_xact_lock(${rollUpLock})`))
      await session.query(sql(`lock table ${quoted(lockOrder)} in access exclusive mode`))
      await session.query(sql(`set local lock_timeout = ${eventLockTimeoutMs}`))
      return
    } catch (error) {
      if (!isAboutLocks(error) || attempt === lockAttemptsMax) throw error
      await session.query(sql('rollback'))
      await sleep(lockPauseMs)
    }
  }
}

/**
 * Without our triggers: the ledger's would add up balances that are restored themselves, others refuse to see history
 * written. With the foreign keys of a table to itself (keys that replaced keys) looked at when all its rows are there. And
 * with events that no transaction of this cluster has settled: rebuildUsageRollups takes those.
 */
async function loosened<Result>(session: Queryable, work: () => Promise<Result>): Promise<Result> {
  const toItself = await session.query<ForeignKey>(foreignKeysToItself, [backupTables])
  for (const table of backupTables) await session.query(sql(`alter table ${quoted([table])} disable trigger user`))
  for (const key of toItself) await session.query(alterForeignKey(key, 'deferrable initially deferred'))
  await session.query(sql('alter table only usage_events alter column settled_in drop default'))
  const result = await work()
  await session.query(sql('set constraints all immediate'))
  await session.query(sql('alter table only usage_events alter column settled_in set default pg_current_xact_id()'))
  for (const key of toItself) await session.query(alterForeignKey(key, 'not deferrable'))
  for (const table of backupTables) await session.query(sql(`alter table ${quoted([table])} enable trigger user`))
  return result
}

type ForeignKey = { readonly table: string; readonly name: string }

const foreignKeysToItself = sql(
  `select conrelid::regclass::text as table, conname::text as name from pg_constraint
   where contype = 'f' and conrelid = confrelid and conrelid = any($1::regclass[]) and not condeferrable`,
)

const alterForeignKey = ({ table, name }: ForeignKey, when: string) =>
  sql(`alter table ${table} alter constraint ${quoted([name])} ${when}`)

async function insertAll(session: Queryable, tables: readonly BackupTable[], backup: OpenBackup): Promise<number> {
  const inserts = new Map(tables.map(table => [table.name, insertInto(table)]))
  let rows = 0
  for await (const batch of backup.batches) {
    const json = `[${batch.rows.join(',')}]`
    if (batch.table === 'usage_events') await session.query(ensurePartitions, [json])
    const insert = inserts.get(batch.table)
    if (!insert) throw damaged()
    await session.query(insert, [json])
    rows += batch.rows.length
  }
  return rows
}

const insertInto = ({ name, columns }: BackupTable) =>
  sql(`insert into ${quoted([name])} (${quoted(columns)}) overriding system value
       select ${quoted(columns)} from json_populate_recordset(null::${quoted([name])}, $1::json)`)

const ensurePartitions = sql(
  `select ensure_usage_partition(day) from (
     select distinct (occurred_at at time zone 'UTC')::date as day from json_populate_recordset(null::usage_events, $1::json)
   ) days`,
)

/** Forwards only: a sequence does not roll back, and a number that a node has in hand must not be given again. */
async function advanceIdentities(session: Queryable, { name, columns }: BackupTable): Promise<void> {
  const identities = await session.query<{ column: string; sequence: string }>(
    sql(
      'select c as column, s as sequence from unnest($2::text[]) c, pg_get_serial_sequence($1, c) s where s is not null',
    ),
    [name, columns],
  )
  for (const { column, sequence } of identities) {
    const advance = `select setval($1::regclass, greatest(nextval($1::regclass), max(${quoted([column])}))) from ${quoted([name])}`
    await session.query(sql(advance), [sequence])
  }
}

function isAboutLocks(error: unknown): boolean {
  const code = codeOf(error)
  return code === '40P01' || code === '55P03'
}

const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined)

/** What is wrong with the backup or with the moment is refused; what is wrong with us keeps its own kind of error. */
function explained(error: unknown): Error {
  if (error instanceof BackupRefused) return error
  if (isAboutLocks(error))
    return new BackupRefused('The database is too busy to be replaced: try again later.', { cause: error })
  const reason = error instanceof Error ? error.message : String(error)
  const sentence = `The backup could not be restored, and nothing was changed: ${reason}`
  // SQLSTATE classes 22 (data exception) and 23 (integrity constraint violation)
  const isAboutRows = /^2[23]/.test(String(codeOf(error)))
  return isAboutRows ? new BackupRefused(sentence, { cause: error }) : new Error(sentence, { cause: error })
}
