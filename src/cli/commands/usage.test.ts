import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Api, list, runOn, startApi } from '../testing.ts'

const nowMs = Date.parse('2026-11-10T12:00:00Z')
const bucket = (results: object[]) => ({ object: 'bucket', start_time: 0, end_time: 1, results })
const page = (...buckets: object[]) => ({ object: 'page', data: buckets, has_more: false, next_page: null })
const used = (calls: number, input: number, output: number, group: object) => ({
  input_tokens: input,
  output_tokens: output,
  num_model_requests: calls,
  ...group,
})
const cost = (value: number, group: object) => ({ amount: { value, currency: 'usd' }, ...group })

let api: Api
beforeEach(async () => {
  api = await startApi({
    'GET /v1/organization/usage/completions': ({ query }: { query: URLSearchParams }) => {
      if (query.get('group_by[]') === 'project_id') return page(bucket([used(3, 30, 9, { project_id: 'proj_1' })]))
      const first = page(bucket([used(2, 1_000, 50, { model: 'gpt-4o' })]), bucket([used(1, 7, 9, { model: 'tiny' })]))
      if (query.get('page') === 'next') return page(bucket([used(1, 500, 25, { model: 'gpt-4o' })]))
      return { ...first, has_more: true, next_page: 'next' }
    },
    'GET /v1/organization/usage/embeddings': page(
      bucket([{ num_model_requests: 4, input_tokens: 12, model: 'minilm' }]),
    ),
    'GET /v1/organization/costs': ({ query }: { query: URLSearchParams }) =>
      query.get('group_by[]') === 'project_id'
        ? page(bucket([cost(0.0000001, { project_id: 'proj_1' })]))
        : page(bucket([cost(0.00375, { line_item: 'gpt-4o, input' }), cost(1e-7, { line_item: 'gpt-4o, output' })])),
    'GET /v1/organization/projects': list([{ id: 'proj_1', name: 'Default' }]),
  })
})
afterEach(() => api.close())

test('usage adds up calls, tokens and dollars over pages, days and endpoints', async () => {
  const { code, stdout } = await runOn(api, ['usage'], { nowMs })
  expect(code).toBe(0)
  expect(stdout.split('\n').slice(2, -1)).toEqual([
    'MODEL   CALLS  INPUT TOKENS  OUTPUT TOKENS        COST',
    'gpt-4o      3         1,500             75  $0.0037501',
    'minilm      4            12              0  $0.0000000',
    'tiny        1             7              9  $0.0000000',
    'total       8         1,519             84  $0.0037501',
  ])
})

test('a call of this very second is in, and days are whole ones in UTC', async () => {
  await runOn(api, ['usage', '--days', '2'], { nowMs })
  const { query } = api.asked.find(({ path }) => path.endsWith('/costs')) ?? {}
  expect(
    [query?.get('start_time'), query?.get('end_time')].map(seconds => new Date(Number(seconds) * 1000).toISOString()),
  ).toEqual(['2026-11-09T00:00:00.000Z', '2026-11-11T00:00:00.000Z'])
})

test('--json has exact dollars as text, and projects by name', async () => {
  const argv = ['usage', '--by', 'project', '--json', '--days', '1']
  const { data, total, by } = JSON.parse((await runOn(api, argv, { nowMs })).stdout)
  expect(by).toBe('project')
  expect(data[0]).toEqual({
    id: 'proj_1',
    name: 'Default',
    calls: 3,
    input_tokens: 30,
    output_tokens: 9,
    cost_usd: '0.0000001',
  })
  expect(total.calls).toBe(7)
})

test('people see names beside ids', async () => {
  expect((await runOn(api, ['usage', '--by', 'project'], { nowMs })).stdout).toMatch(/^Default \(proj_1\) +3 +30 +9 /m)
})

test('without calls it says how to make one', async () => {
  const empty = { object: 'page', data: [bucket([])], has_more: false, next_page: null }
  const quiet = await startApi({
    'GET /v1/organization/usage/completions': empty,
    'GET /v1/organization/usage/embeddings': empty,
    'GET /v1/organization/costs': empty,
  })
  const { code, stdout } = await runOn(quiet, ['usage'])
  await quiet.close()
  expect([code, stdout]).toEqual([0, 'No calls in the last 7 days. A first one: keyhouse keys create prints it.\n'])
})
