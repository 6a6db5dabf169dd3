/** One run of one job: timed, written down, counted, and told of as a trouble while it fails. */
import type { Trouble } from '#contract/troubles.ts'
import type { JobMetrics } from '#observe/metrics.ts'
import { insertJobRun } from '#storage/job-runs.ts'
import type { JobParts } from './job.ts'
import { type JobName, jobOf } from './jobs.ts'

export type Running = {
  readonly parts: JobParts
  readonly nodeId: string
  readonly metrics: JobMetrics
  /** Of a job that fails. */
  trouble(job: JobName): Trouble
  /** Jobs whose last run on this node failed. */
  readonly failing: Set<JobName>
}

export type JobAsked = {
  /** Of whoever waits for it. */
  readonly askedId?: string | null
  /** Runs by a timer come every few seconds: written down is what they did, and the first of their failures. */
  readonly quiet?: boolean
}

const nothing = 'nothing was due'

/** @throws what the job threw, once that is written down: whoever called it tries again */
export async function runJob(running: Running, name: JobName, asked: JobAsked = {}): Promise<void> {
  const { askedId = null, quiet = false } = asked
  const { parts, failing } = running
  const startedAtMs = parts.wallClock()
  try {
    const report = await jobOf(name).run(parts)
    const recovered = failing.delete(name)
    running.trouble(name).over()
    if (report === null && quiet && !recovered) return
    await ended(running, name, { startedAtMs, askedId, outcome: 'done', report: report ?? nothing })
  } catch (error) {
    const isNews = !quiet || !failing.has(name)
    failing.add(name)
    running.trouble(name).began(error)
    if (isNews) await failed(running, name, { error, startedAtMs, askedId })
    throw error
  }
}

async function failed(
  running: Running,
  name: JobName,
  { error, ...run }: Pick<End, 'startedAtMs' | 'askedId'> & { error: unknown },
): Promise<void> {
  const report = error instanceof Error ? error.message : String(error)
  // The database may be what failed: then there is no row either
  await ended(running, name, { ...run, outcome: 'failed', report }).catch(() => undefined)
}

type End = {
  readonly startedAtMs: number
  readonly askedId: string | null
  readonly outcome: 'done' | 'failed'
  readonly report: string
}

async function ended({ parts, nodeId, metrics }: Running, job: JobName, end: End): Promise<void> {
  const { startedAtMs, ...run } = end
  metrics.jobEnded(job, run.outcome, Math.max(0, parts.wallClock() - startedAtMs) / 1000)
  await insertJobRun(parts.database, { ...run, job, nodeId, startedAt: new Date(startedAtMs) })
}
