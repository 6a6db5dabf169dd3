/**
 * A real PostgreSQL that belongs to this server: started with it, ended with it, reachable through one Unix socket that
 * only this user can enter, never over TCP. Committed is on disk: nothing here trades durability for speed.
 *
 * It runs in a session of its own, so that Ctrl-C reaches the server first and the database last. When the server is killed
 * with -9, the lifeline ends it; the next start recovers from the write-ahead log.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { holdLifeline } from './lifeline.ts'
import { choosePostgresAccount } from './postgres-account.ts'
import { findPostgres } from './postgres-binaries.ts'
import { type ClusterPlace, prepareCluster, superuser } from './postgres-cluster.ts'
import { explainFailure } from './postgres-failure.ts'
import { endOrphans } from './postgres-orphan.ts'

export type EmbeddedPostgresOptions = {
  /** The cluster; made on the first start. The caller holds the lock of the data directory around it. */
  readonly directory: string
  /** For the socket: 0700, of this user, and short (see run-directory.ts). */
  readonly socketDirectory: string
  /** Receives what PostgreSQL writes to its log, line by line; never a statement or a value. */
  readonly log: (line: string) => void
}

export type EmbeddedPostgres = {
  /** Fits pg's PoolConfig. */
  readonly connection: PostgresConnection
  readonly pid: number
  /** Settles when PostgreSQL has ended, by stop() or by itself. */
  readonly exited: Promise<PostgresExit>
  /** Ends every session and writes everything down; harder when that takes too long. Safe to call twice. */
  stop(): Promise<void>
}

export type PostgresConnection = {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
  /** Said, because PGSSLMODE in the environment would otherwise ask for it on the socket. */
  readonly ssl: false
}

/** `expected` tells our own stop() from a death that the server has to react to. */
export type PostgresExit = { readonly expected: boolean; readonly description: string }

const database = 'keyhouse'
// Names the socket file only; nothing listens on it.
const port = 5432

// Recovery after a crash replays at most max_wal_size; the start itself takes a tenth of a second.
const startTimeoutMs = 120_000
const readyPollMs = 10
const queryTimeoutMs = 30_000
const fastStopMsMax = 20_000
const immediateStopMsMax = 10_000
const killStopMsMax = 5_000
const lastWordsMsMax = 500
const lastLinesMax = 20

/** Small at rest, durable, silent about data. Given at each start, so a new version's values apply to old clusters too. */
const settings = {
  listen_addresses: '',
  unix_socket_permissions: '0700',
  max_connections: '100',
  // memory and processes
  shared_buffers: '48MB',
  huge_pages: 'off',
  work_mem: '4MB',
  maintenance_work_mem: '32MB',
  effective_cache_size: '512MB',
  jit: 'off',
  io_method: 'sync', // 'worker' keeps three more processes
  max_worker_processes: '4',
  max_parallel_workers: '2',
  max_parallel_workers_per_gather: '1',
  autovacuum_max_workers: '2',
  max_logical_replication_workers: '0',
  max_wal_senders: '0',
  // disk: fsync, synchronous_commit and full_page_writes stand here so that no configuration file can turn them off
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  max_wal_size: '256MB',
  min_wal_size: '32MB',
  // the log: neither statements nor the DETAIL lines that quote values
  logging_collector: 'off',
  log_destination: 'stderr',
  log_line_prefix: '',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
  log_checkpoints: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
}

/** @throws one line that says what to do: another major version, a full disk, no PostgreSQL for this platform. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { directory, socketDirectory, log } = options
  const binaries = await findPostgres(`${directory}-libraries`)
  const place = { directory, binaries, account: choosePostgresAccount() }
  await endOrphans(directory, log)
  await forgetSocket(socketDirectory)
  await prepareCluster(place)
  const running = run(place, options)
  const connection = { host: socketDirectory, port, user: superuser, database, ssl: false } as const
  try {
    await ready(running, directory, connection)
  } catch (error) {
    await running.stop()
    throw explainFailure('PostgreSQL did not start', directory, error)
  }
  return { connection, pid: running.pid, exited: running.exited, stop: running.stop }
}

/** Like postmaster.pid, the socket's lock file names a process whose number another one may have by now. */
async function forgetSocket(socketDirectory: string): Promise<void> {
  for (const ending of ['', '.lock']) await rm(join(socketDirectory, `.s.PGSQL.${port}${ending}`), { force: true })
}

type RunningPostgres = Omit<EmbeddedPostgres, 'connection'> & { readonly lastLines: readonly string[] }

function run({ directory, binaries, account }: ClusterPlace, { socketDirectory, log }: EmbeddedPostgresOptions) {
  const [program = '', ...prefix] = [...account.prefix, binaries.postgres]
  const args = [...prefix, '-D', directory, ...settingArguments(socketDirectory)]
  const child = spawn(program, args, { env: binaries.env, detached: true, stdio: ['ignore', 'ignore', 'pipe'] })
  return supervise(child, log)
}

function settingArguments(socketDirectory: string): string[] {
  // A list of directories in PostgreSQL's eyes: quoted, because a path may contain a comma.
  const quoted = `"${socketDirectory.replaceAll('"', '""')}"`
  return Object.entries({ ...settings, unix_socket_directories: quoted }).flatMap(([name, value]) => [
    '-c',
    `${name}=${value}`,
  ])
}

/** The life of the process: its log, its lifeline, its end. */
function supervise(child: ChildProcess, log: (line: string) => void): RunningPostgres {
  const lastLines = followLog(child, log)
  let stopping = false
  const exited = endOf(child).then(description => ({ expected: stopping, description }))
  if (child.pid !== undefined) {
    const lifeline = holdLifeline(child.pid, 'QUIT', error => log(`cannot watch over PostgreSQL: ${error.message}`))
    void exited.then(lifeline.end)
  }
  async function stop(): Promise<void> {
    stopping = true
    child.kill('SIGINT') // "fast": sessions are ended, then everything is written down
    if (await endsWithin(exited, fastStopMsMax)) return
    child.kill('SIGQUIT') // "immediate": the next start recovers
    if (await endsWithin(exited, immediateStopMsMax)) return
    child.kill('SIGKILL')
    await endsWithin(exited, killStopMsMax)
  }
  return { pid: child.pid ?? 0, exited, stop, lastLines }
}

function followLog(child: ChildProcess, log: (line: string) => void): readonly string[] {
  const lastLines: string[] = []
  if (!child.stderr) return lastLines
  createInterface({ input: child.stderr }).on('line', line => {
    lastLines.push(line)
    if (lastLines.length > lastLinesMax) lastLines.shift()
    log(line)
  })
  return lastLines
}

function endOf(child: ChildProcess): Promise<string> {
  return new Promise(resolve => {
    child.once('error', error => resolve(error.message))
    child.once('exit', (code, signal) => {
      const description = signal ? `ended by ${signal}` : `ended with code ${code}`
      // 'close' comes with the last line of the log, but a session that is slow to notice may hold the log open.
      child.once('close', () => resolve(description))
      setTimeout(resolve, lastWordsMsMax, description).unref()
    })
  })
}

async function endsWithin(exited: Promise<unknown>, waitMsMax: number): Promise<boolean> {
  const deadline = new AbortController()
  const tooLate = sleep(waitMsMax, false, { signal: deadline.signal }).catch(() => false)
  const ended = await Promise.race([exited.then(() => true), tooLate])
  deadline.abort()
  return ended
}

/** Waits until the server answers, and makes our database where it is not there yet. */
async function ready(running: RunningPostgres, directory: string, connection: PostgresConnection): Promise<void> {
  const timeouts = { connectionTimeoutMillis: queryTimeoutMs, query_timeout: queryTimeoutMs }
  await accepting(running, directory)
  const client = new pg.Client({ ...connection, database: 'postgres', ...timeouts })
  await client.connect()
  try {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [database])
    if (rowCount === 0) await client.query(`create database ${database}`)
  } finally {
    await client.end()
  }
}

/** Asks postmaster.pid, as pg_ctl does: knocking on the socket would fill the log with "starting up". */
async function accepting(running: RunningPostgres, directory: string): Promise<void> {
  let ended: PostgresExit | undefined
  void running.exited.then(exit => {
    ended = exit
  })
  for (let waitedMs = 0; waitedMs < startTimeoutMs; waitedMs += readyPollMs) {
    if (ended) throw new Error([ended.description, ...running.lastLines].join('\n'))
    if (isReady(await readFile(join(directory, 'postmaster.pid'), 'utf8').catch(() => ''), running.pid)) return
    await sleep(readyPollMs)
  }
  throw new Error(`it was not ready after ${startTimeoutMs / 1000} seconds`)
}

/** Its lines are: process id, directory, start time, port, socket directory, address, shared memory, status. */
function isReady(postmasterFile: string, pid: number): boolean {
  const lines = postmasterFile.split('\n')
  return Number(lines[0]) === pid && lines[7]?.trim() === 'ready'
}
