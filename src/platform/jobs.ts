/** The table of jobs, with what became of each; and running one now. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { apiError } from '#contract/errors.ts'
import type { jobs as jobEndpoints } from '#contract/jobs.ts'
import type { Database } from '#storage/database.ts'
import { askForJob, findAskedRun, type JobRunRow, lastJobRuns } from '#storage/job-runs.ts'
import type { Handlers } from './handler.ts'
import { isJobName, type JobName, jobNames, jobOf } from './jobs/jobs.ts'
import { nextRunAt } from './jobs/schedule.ts'
import { unixSeconds } from './page.ts'

/** The CLI waits for a minute. */
const waitMs = 45_000
const lookEveryMs = 100

export const jobHandlers: Handlers<typeof jobEndpoints> = {
  async list({ database, wallClock }) {
    const runs = await lastJobRuns(database, jobNames)
    const runOf = new Map(runs.map(run => [run.job, run]))
    return { object: 'list', data: jobNames.map(name => toJob(name, runOf.get(name), wallClock())) }
  },

  async run({ database }, { params: { job_name: name } }) {
    if (!isJobName(name)) throw apiError('not_found', { what: 'job. `keyhouse jobs list` shows them all' })
    const askedId = randomUUID()
    if (!(await askForJob(database, name, askedId))) throw noQueue()
    const run = await endOf(database, askedId)
    return { object: 'platform.job_run', job: name, run: run ? toRun(run) : null }
  },
}

async function endOf(database: Database, askedId: string): Promise<JobRunRow | undefined> {
  for (let waited = 0; waited < waitMs; waited += lookEveryMs) {
    const run = await findAskedRun(database, askedId)
    if (run) return run
    await sleep(lookEveryMs)
  }
  return undefined
}

const noQueue = (): Error =>
  apiError('conflict', { message: 'No node runs jobs yet. Look into the log of the server for why, and restart it.' })

function toJob(name: JobName, run: JobRunRow | undefined, nowMs: number) {
  const { about, cron, everyMs } = jobOf(name)
  return {
    object: 'platform.job' as const,
    name,
    description: about,
    schedule: cron,
    every_seconds: everyMs === undefined ? null : everyMs / 1000,
    last_run: run ? toRun(run) : null,
    next_run_at: unixSeconds(nextRunAt(name, nowMs)),
  }
}

const toRun = ({ started_at, ended_at, outcome, report, node_id }: JobRunRow) => ({
  started_at: unixSeconds(started_at),
  duration_ms: Math.max(0, ended_at.getTime() - started_at.getTime()),
  outcome,
  report,
  node_id,
})
