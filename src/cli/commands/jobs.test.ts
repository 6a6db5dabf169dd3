import { afterEach, expect, test } from 'vitest'
import { type Api, runOn, startApi } from '../testing.ts'

const apis: Api[] = []
afterEach(async () => {
  for (const api of apis.splice(0)) await api.close()
})

async function served(routes: Parameters<typeof startApi>[0]): Promise<Api> {
  const api = await startApi(routes)
  apis.push(api)
  return api
}

const run = { started_at: 1_790_000_000, duration_ms: 12, outcome: 'done', report: '3 alerts', node_id: 'n' }
const job = {
  object: 'platform.job',
  name: 'evaluate-spend-alerts',
  description: 'Tells.',
  schedule: '* * * * *',
  every_seconds: null,
  last_run: run,
  next_run_at: 1_790_000_100,
}

test('a job is one line: when it ran, how that went, when it runs next', async () => {
  const api = await served({ 'GET /v1/platform/jobs': { object: 'list', data: [job, { ...job, last_run: null }] } })
  const { code, stdout } = await runOn(api, ['jobs'], { nowMs: 1_790_000_120_000 })
  expect(code).toBe(0)
  expect(stdout).toContain('evaluate-spend-alerts  2 min ago  12 ms  done     2026-09-21 14:15  3 alerts')
  expect(stdout).toContain('evaluate-spend-alerts  never')
})

test('a job is run now, and its report is told', async () => {
  const route = 'POST /v1/platform/jobs/evaluate-spend-alerts/run'
  const api = await served({ [route]: { object: 'platform.job_run', job: job.name, run } })
  const { stdout } = await runOn(api, ['jobs', 'run', 'evaluate-spend-alerts'])
  expect(stdout).toBe('evaluate-spend-alerts: 3 alerts (12 ms).\n')
  const json = await runOn(api, ['jobs', 'run', 'evaluate-spend-alerts', '--json'])
  expect(JSON.parse(json.stdout).run).toEqual(run)
})

test('a run that failed is a failure, one that goes on is none', async () => {
  const path = 'POST /v1/platform/jobs/send-mail/run'
  const failed = await served({ [path]: { job: 'send-mail', run: { ...run, outcome: 'failed', report: 'no disk' } } })
  const { code, stderr } = await runOn(failed, ['jobs', 'run', 'send-mail'])
  expect([code, stderr]).toEqual([1, expect.stringContaining('send-mail failed: no disk')])
  const running = await served({ [path]: { job: 'send-mail', run: null } })
  expect(await runOn(running, ['jobs', 'run', 'send-mail'])).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('goes on'),
  })
})
