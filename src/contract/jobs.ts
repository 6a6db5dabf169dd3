/** What Keyhouse does by itself, how it went, and doing it now. */
import { z } from 'zod'
import { type Endpoints, emptyBody, unixTime } from './endpoint.ts'

const jobRun = z.object({
  started_at: unixTime,
  duration_ms: z.int(),
  outcome: z.enum(['done', 'failed']),
  report: z.string().describe('What was done, or why it failed.'),
  node_id: z.string(),
})

export const job = z
  .object({
    object: z.literal('platform.job'),
    name: z.string(),
    description: z.string(),
    schedule: z.string().describe('When it is due, as cron says it, in UTC.'),
    every_seconds: z.number().nullable().describe('Besides, each node runs it so often.'),
    last_run: jobRun.nullable(),
    next_run_at: unixTime,
  })
  .meta({ id: 'Job' })

export const jobs = {
  list: {
    method: 'GET',
    path: '/v1/platform/jobs',
    summary: 'Every job: when it ran last and how that went, and when it is due.',
    scope: 'api.platform.read',
    operatorOnly: true,
    answer: z.object({ object: z.literal('list'), data: z.array(job) }),
  },
  run: {
    method: 'POST',
    path: '/v1/platform/jobs/{job_name}/run',
    summary: 'Run a job now, on whichever node is free, and wait a while for its end.',
    scope: 'api.platform.write',
    operatorOnly: true,
    body: emptyBody,
    answer: z
      .object({
        object: z.literal('platform.job_run'),
        job: z.string(),
        run: jobRun.nullable().describe('Null: it goes on; the list of jobs shows its end.'),
      })
      .meta({ id: 'JobRun' }),
  },
} as const satisfies Endpoints
