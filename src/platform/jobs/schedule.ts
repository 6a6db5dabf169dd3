/** When jobs are due. */
import { type CronItem, parseCronItem, parseCronItems } from 'graphile-worker'
import { type JobName, jobNames, jobOf } from './jobs.ts'

/** After that a failed run waits for the next one that is due. */
const triesMax = 3
const minuteMs = 60_000
/** No job is due more seldom than once a month. */
const minutesAheadMax = 32 * 24 * 60

/**
 * One key a job: while one waits, the next that is due takes its place. Without a queue name, since a node that is killed
 * would keep the queue shut for hours; a job may run twice at once anyway.
 */
const itemOf = (name: JobName): CronItem => ({
  task: name,
  match: jobOf(name).cron,
  options: { jobKey: name, maxAttempts: triesMax },
})

export const cronItems = () => parseCronItems(jobNames.map(itemOf))

/** @throws Error for a job that is never due: a mistake in its row */
export function nextRunAt(name: JobName, nowMs: number): Date {
  const { match } = parseCronItem(itemOf(name))
  const first = Math.floor(nowMs / minuteMs) + 1
  for (let minute = first; minute < first + minutesAheadMax; minute += 1) {
    const at = new Date(minute * minuteMs)
    const due = match({
      min: at.getUTCMinutes(),
      hour: at.getUTCHours(),
      date: at.getUTCDate(),
      month: at.getUTCMonth() + 1,
      dow: at.getUTCDay(),
    })
    if (due) return at
  }
  throw new Error(`the job ${name} is never due`)
}
