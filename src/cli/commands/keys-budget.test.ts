import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Api, list, refuse, runOn, startApi } from '../testing.ts'

const key = '/v1/organization/projects/proj_a/api_keys/key_1'
const budget = {
  object: 'organization.project.api_key.budget',
  key_id: 'key_1',
  shared_from: 'key_0',
  limit_usd: '20.00',
  period: 'week',
  spent_usd: '3.20',
  reserved_usd: '0.50',
  remaining_usd: '16.30',
  starts_at: 1_795_478_400,
  resets_at: 1_796_083_200,
}

let api: Api
beforeEach(async () => {
  api = await startApi({
    'GET /v1/organization/projects': list([{ id: 'proj_a', name: 'A', created_at: 1, status: 'active' }]),
    [`GET ${key}`]: { id: 'key_1' },
    [`GET ${key}/budget`]: budget,
    [`POST ${key}/budget`]: { ...budget, shared_from: 'key_1', period: 'total', resets_at: null, starts_at: null },
    [`DELETE ${key}/budget`]: { object: 'organization.project.api_key.budget.deleted', key_id: 'key_1', deleted: true },
    'GET /v1/organization/projects/proj_a/api_keys/key_2/budget': refuse(404, 'No such budget: none is set.'),
  })
})
afterEach(() => api.close())

const run = (words: string) => runOn(api, words.split(' '))

test('the budget of a key: what is left, when it starts anew, and who shares it', async () => {
  expect((await run('keys budget show key_1')).stdout).toBe(
    'The budget of key_1 is $20.00 a week: $3.20 spent, $0.50 reserved, $16.30 left. It starts anew at 2026-12-01 00:00 UTC. ' +
      'Shared with key_0, which it replaced, and whatever did so in between.\n',
  )
  expect(JSON.parse((await run('keys budget show key_1 --json')).stdout)).toEqual(budget)
  expect((await run('keys budget show key_2 --project proj_a')).stdout).toBe('key_2 has no budget.\n')
  expect((await run('keys budget show key_2 --project proj_a --json')).code).toBe(5)
})

test('it is set for a period, a month unless said, and cleared', async () => {
  const { stdout } = await run('keys budget set key_1 20 --period total --project proj_a')
  expect(stdout).toContain('$20.00 in all: $3.20 spent')
  expect(stdout).toContain('It does not start anew.')
  expect(JSON.parse(api.asked.at(-1)?.body ?? '')).toEqual({ limit_usd: '20', period: 'total' })
  await run('keys budget set key_1 20 --project proj_a')
  expect(JSON.parse(api.asked.at(-1)?.body ?? '')).toEqual({ limit_usd: '20', period: 'month' })
  expect((await run('keys budget set key_1 20 --period year --project proj_a')).code).toBe(2)
  expect((await run('keys budget set key_1 twenty --project proj_a')).code).toBe(2)
  expect((await run('keys budget clear key_1 --project proj_a')).stdout).toBe('key_1 has no budget.\n')
})
