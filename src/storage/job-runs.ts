/** What jobs did, for people; and asking for a run. The queue is graphile-worker's own schema in the same database. */
import { only, type Queryable, sql } from './database.ts'

export type JobRun = {
  readonly job: string
  readonly nodeId: string
  /** Who waits for this very run. */
  readonly askedId: string | null
  readonly startedAt: Date
  readonly outcome: 'done' | 'failed'
  /** What was done, or why it failed. */
  readonly report: string
}

export type JobRunRow = {
  job: string
  node_id: string
  started_at: Date
  ended_at: Date
  outcome: 'done' | 'failed'
  report: string
}

const columns = 'job, node_id, started_at, ended_at, outcome, report'
const reportMax = 2_000
const runsKept = '3 days'

export async function insertJobRun(database: Queryable, run: JobRun): Promise<void> {
  const text = `insert into job_runs (job, node_id, asked_id, started_at, outcome, report)
    values ($1, $2, $3, $4, $5, $6)`
  const { job, nodeId, askedId, startedAt, outcome, report } = run
  await database.query(sql(text), [job, nodeId, askedId, startedAt, outcome, report.slice(0, reportMax)])
}

export async function lastJobRuns(database: Queryable, jobs: readonly string[]): Promise<JobRunRow[]> {
  const text = `select last.* from unnest($1::text[]) as j (name), lateral (
    select ${columns} from job_runs where job = j.name order by id desc limit 1) as last`
  return database.query<JobRunRow>(sql(text), [jobs])
}

export async function findAskedRun(database: Queryable, askedId: string): Promise<JobRunRow | undefined> {
  const [row] = await database.query<JobRunRow>(sql(`select ${columns} from job_runs where asked_id = $1`), [askedId])
  return row
}

/** The last run of each job stays, however old. */
export async function trimJobRuns(database: Queryable): Promise<number> {
  const text = `delete from job_runs r where ended_at < now() - interval '${runsKept}'
    and exists (select from job_runs newer where newer.job = r.job and newer.id > r.id) returning id`
  return (await database.query(sql(text))).length
}

/** Jobs of the queue that were given up long ago, as those of a node that was killed. */
export async function forgetDeadJobs(database: Queryable): Promise<number> {
  if (!(await hasQueue(database))) return 0
  const text = `select from graphile_worker.complete_jobs(array(select id from graphile_worker.jobs
    where attempts >= max_attempts and updated_at < now() - interval '1 day' limit 1000))`
  return (await database.query(sql(text))).length
}

async function hasQueue(database: Queryable): Promise<boolean> {
  const text = `select to_regclass('graphile_worker._private_jobs') is not null as ready`
  return only(await database.query<{ ready: boolean }>(sql(text))).ready
}

/** Whichever node is free runs it. False where no node has prepared the queue yet. */
export async function askForJob(database: Queryable, job: string, askedId: string): Promise<boolean> {
  if (!(await hasQueue(database))) return false
  const text = `select from graphile_worker.add_job($1, json_build_object('asked_id', $2::text), max_attempts => 1)`
  await database.query(sql(text), [job, askedId])
  return true
}
