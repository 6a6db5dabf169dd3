/**
 * Runs the table of jobs on this node. The queue and the clock are graphile-worker's, in a schema of its own in the same
 * database: of several nodes one takes a job that is due. When the database goes away it goes on looking; should it give up
 * for good, it is started again.
 */
import { EventEmitter } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  Logger,
  type Runner,
  run,
  runMigrations,
  type TaskList,
  type WorkerEvents,
  WorkerPreset,
} from 'graphile-worker'
import pg from 'pg'
import type { Trouble } from '#contract/troubles.ts'
import type { Log } from '#observe/log.ts'
import type { JobMetrics } from '#observe/metrics.ts'
import { countLedgerFindings } from '#storage/ledger-verification.ts'
import { type MailSettings, openMailer } from '../mail/mailer.ts'
import type { JobParts } from './job.ts'
import { type JobName, jobNames, jobOf } from './jobs.ts'
import { type Running, runJob } from './run-job.ts'
import { cronItems } from './schedule.ts'

export type JobSettings = {
  /** Where the database is, as openDatabase() takes it. */
  readonly connection: pg.PoolConfig
  readonly connectTimeoutMs: number
  readonly statementTimeoutMs: number
  readonly nodeId: string
  readonly parts: Omit<JobParts, 'mailer'>
  /** Undefined: there is no mail server, and mail waits. */
  readonly mail: MailSettings | undefined
  readonly metrics: JobMetrics
  /** Of a job that fails. */
  trouble(job: string): Trouble
}

const schema = 'graphile_worker'
/**
 * Without a delay graphile-worker 0.18 writes the end of a job down in a promise that nobody waits for: a database that is
 * away at that moment would end the process. With one, even of nothing, it stops the worker, and that is started again.
 */
const preset: GraphileConfig.Preset = {
  extends: [WorkerPreset],
  worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 },
}
/** One listens for work, the others take it and look at the clock. */
const connectionsMax = 3
const jobsAtOnce = 2
/** A job asked for is heard of at once; those that failed are looked for so often. */
const pollMs = 2_000
const restartMs = 5_000
const looksFailedMax = 6
/** How long a stopping node waits for the jobs that it is in: another one runs again what did not end. */
const stopMs = 2_000
const goodbyeMs = 500

/** @throws Error that says what to do where the queue's schema cannot be made */
export async function startJobs(settings: JobSettings): Promise<{ stop(): Promise<void> }> {
  const { mail, nodeId, metrics, trouble } = settings
  const mailer = mail && openMailer(mail)
  const parts = { ...settings.parts, mailer }
  const running = { parts, nodeId, metrics, trouble, failing: new Set<JobName>() }
  const pool = openPool(settings)
  const shared = { pgPool: pool, schema, logger: toLogger(parts.log), preset }
  try {
    await runMigrations(shared)
  } catch (error) {
    await pool.end()
    throw explained(error)
  }
  const worker = keepWorker(
    events =>
      run({
        ...shared,
        events,
        concurrency: jobsAtOnce,
        pollInterval: pollMs,
        noHandleSignals: true,
        taskList: taskList(running),
        parsedCronItems: cronItems(),
      }),
    parts.log,
  )
  const timers = startTimers(running)
  metrics.watchLedger(() => countLedgerFindings(parts.database))
  return {
    async stop() {
      await within(stopMs, Promise.all([worker.stop(), timers.stop()]))
      mailer?.close()
      await within(goodbyeMs, pool.end())
    },
  }
}

/** Its own, because the queue reads numbers as text, and a long job must not take a place from calls. */
function openPool({ connection, connectTimeoutMs, statementTimeoutMs, parts }: JobSettings): pg.Pool {
  const pool = new pg.Pool({
    ...connection,
    application_name: 'keyhouse-jobs',
    max: connectionsMax,
    connectionTimeoutMillis: connectTimeoutMs,
    statement_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + 1_000,
    keepAlive: true,
  })
  const failed = (err: Error): void => parts.log.debug({ err }, 'a connection of the jobs failed')
  pool.on('error', failed)
  pool.on('connect', client => client.on('error', failed))
  return pool
}

const notAllowed = '42501'

function explained(error: unknown): unknown {
  const { code, message } = error as { code?: string; message?: string }
  if (code !== notAllowed) return error
  return new Error(
    `The database user may not make or use the schema "${schema}", in which jobs are queued (${message}). Let the database's ` +
      `owner run: grant create on database DATABASE to USER; or: create schema ${schema} authorization USER;`,
    { cause: error },
  )
}

const taskList = (running: Running): TaskList =>
  Object.fromEntries(
    jobNames.map(name => [name, (payload: unknown) => runJob(running, name, { askedId: askedId(payload) })]),
  )

const askedId = (payload: unknown): string | null =>
  typeof payload === 'object' && payload !== null && 'asked_id' in payload ? String(payload.asked_id) : null

type Kept = { stop(): Promise<void> }

/** Also started anew is one that finds no work for long: what it could not read when it began it never reads again. */
function keepWorker(begin: (events: WorkerEvents) => Promise<Runner>, log: Log): Kept {
  const stopping = new AbortController()
  let runner: Runner | undefined
  let isKnown = false
  const keep = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      try {
        const events: WorkerEvents = new EventEmitter()
        runner = await begin(events)
        isKnown = false
        if (stopping.signal.aborted) await runner.stop()
        await Promise.race([runner.promise, stuck(events)])
        if (!stopping.signal.aborted) await within(stopMs, runner.stop())
      } catch (error) {
        const isNews = !stopping.signal.aborted && !isKnown
        isKnown = true
        if (isNews) log.error({ err: error }, 'the worker of the jobs stopped; it is started again until it runs')
      }
      await sleep(restartMs, undefined, { signal: stopping.signal }).catch(() => undefined)
    }
  }
  const kept = keep()
  return {
    async stop() {
      stopping.abort()
      // It refuses to be stopped twice, as when it is just stopping by itself
      await runner?.stop().catch(() => undefined)
      await kept
    },
  }
}

/** When the worker could not look for work several times in a row. */
function stuck(events: WorkerEvents): Promise<void> {
  return new Promise(resolve => {
    let failures = 0
    events.on('worker:getJob:error', () => {
      failures += 1
      if (failures >= looksFailedMax) resolve()
    })
    for (const found of ['worker:getJob:empty', 'job:start'] as const) {
      events.on(found, () => {
        failures = 0
      })
    }
  })
}

/** A job's own timer never overlaps with itself on one node. */
function startTimers(running: Running): Kept {
  const current = new Map<JobName, Promise<void>>()
  const timers = jobNames.flatMap(name => {
    const { everyMs } = jobOf(name)
    if (everyMs === undefined) return []
    const tick = (): void => {
      if (current.has(name)) return
      // Its failure is logged and written down already; the next tick is the next try
      const done = runJob(running, name, { quiet: true })
        .catch(() => undefined)
        .finally(() => current.delete(name))
      current.set(name, done)
    }
    return [setInterval(tick, everyMs)]
  })
  return {
    async stop() {
      for (const timer of timers) clearInterval(timer)
      await Promise.all(current.values())
    },
  }
}

async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const late = new AbortController()
  await Promise.race([work, sleep(ms, undefined, { ref: false, signal: late.signal }).catch(() => undefined)])
  late.abort()
}

/** What it says of its own is for whoever debugs; runJob tells of failed jobs. */
const toLogger = (log: Log): Logger =>
  new Logger(() => (level, message, meta) => {
    const about = { jobs: message, ...(meta?.error !== undefined && { err: meta.error }) }
    if (level === 'error' || level === 'warning') log.debug(about, 'jobs: trouble')
    else log.trace(about, 'jobs')
  })
