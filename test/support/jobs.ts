/** Jobs on a test database: their parts with nothing behind them, and a node that runs them. */
import { pino } from 'pino'
import { createMetrics, type JobMetrics } from '#observe/metrics.ts'
import { type JobSettings, startJobs } from '#platform/jobs/start-jobs.ts'
import { Troubles } from '#src/troubles.ts'
import { type Database, openDatabase } from '#storage/database.ts'
import { loadSecrets } from '#storage/secrets.ts'
import type { TestDatabase } from './postgres.ts'

export type TestJobs = {
  readonly parts: JobSettings['parts']
  /** What the job metrics heard, as 'expire-credit done'. */
  readonly ended: string[]
  readonly logged: string[]
}

export async function testJobs(database: Database, parts: Partial<JobSettings['parts']> = {}): Promise<TestJobs> {
  const secrets = await loadSecrets('', { pepper: 'a1'.repeat(32), sealingKey: 'b2'.repeat(32) })
  const [logged, ended]: [string[], string[]] = [[], []]
  return {
    logged,
    ended,
    parts: {
      database,
      secrets,
      log: pino({ level: 'debug' }, { write: line => logged.push(line) }),
      wallClock: Date.now,
      lostNodeMinutes: 60,
      rollUpUsage: async () => 0,
      applyRetention: async () => null,
      ...parts,
    },
  }
}

const timeoutMs = 5_000

/** Of its own connections, as another process would have them. */
export async function startNode(
  { connection }: Pick<TestDatabase, 'connection'>,
  nodeId: string,
  { mail, ...parts }: Partial<JobSettings['parts']> & Partial<Pick<JobSettings, 'mail'>> = {},
) {
  const times = { connectTimeoutMs: timeoutMs, statementTimeoutMs: timeoutMs }
  const database = openDatabase({ connection, connectionsMax: 4, ...times }, () => undefined)
  const jobs = await testJobs(database, parts)
  const { ended } = jobs
  const counters = createMetrics()
  const metrics: JobMetrics = {
    watchLedger: counters.watchLedger,
    jobEnded(job, outcome, seconds) {
      ended.push(`${job} ${outcome}`)
      counters.jobEnded(job, outcome, seconds)
    },
  }
  const troubles = new Troubles(jobs.parts.log, Date.now)
  try {
    const running = await startJobs({
      connection,
      ...times,
      nodeId,
      parts: jobs.parts,
      mail,
      metrics,
      trouble: job => troubles.of('job_failing', job),
    })
    return {
      ...jobs,
      metrics: () => counters.text(),
      async stop() {
        await running.stop()
        await database.close()
      },
    }
  } catch (error) {
    await database.close()
    throw error
  }
}

/** Waits until it is so. @throws what `look` threw last, or that it never was */
export async function until(look: () => Promise<boolean>, withinMs = 10_000): Promise<void> {
  for (const end = performance.now() + withinMs; ; await new Promise(resolve => setTimeout(resolve, 50))) {
    if (await look()) return
    if (performance.now() > end) throw new Error('it did not come to be in time')
  }
}
