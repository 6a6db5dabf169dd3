import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { type Api, list, type Ran, refuse, runOn, startApi } from '../testing.ts'

const nowMs = Date.parse('2026-11-10T12:00:00Z')
const call = (id: string) => ({
  object: 'organization.call',
  request_id: id,
  created_at: nowMs / 1000,
  api_key_id: 'key_1',
  model: 'gpt-4o',
  outcome: 'client_left',
  estimated: true,
  input_tokens: 1_234,
  output_tokens: 5,
  duration_ms: 900,
  cost_usd: '0.00375',
})
const page = (data: object[], next: string | null) => ({ object: 'list', data, has_more: next !== null, next })

let api: Api
afterEach(() => api.close())
const start = async (routes: Parameters<typeof startApi>[0]): Promise<void> => {
  api = await startApi(routes)
}
const run = (...argv: string[]): Promise<Ran> => runOn(api, argv, { nowMs })

test('a page that is empty is not taken for the end, and no more is asked for than was wanted', async () => {
  const pages: Record<string, object> = {
    '': page([call('req_1')], 'a'),
    a: page([], 'b'),
    b: page([call('req_2')], 'c'),
  }
  await start({
    'GET /v1/organization/calls': ({ query }: { query: URLSearchParams }) => pages[query.get('after') ?? ''],
  })
  const { stdout, stderr } = await run(
    'calls',
    'list',
    '--limit',
    '2',
    '--since',
    '1h',
    '--model',
    'gpt-4o',
    '--min-cost',
    '0.001',
  )
  expect(stdout).toMatch(/req_1 +gpt-4o +key_1 +client_left, estimated +1,234 +5 +900 +\$0.00375\n.*req_2/)
  expect(stderr).toContain('--after c')
  const [first, ...others] = api.asked.map(({ query }) => Object.fromEntries(query))
  expect(first).toEqual({
    models: 'gpt-4o',
    min_cost_usd: '0.001',
    start_time: String(nowMs / 1000 - 3_600),
    limit: '2',
  })
  expect(others.map(({ limit, after }) => [limit, after])).toEqual([
    ['1', 'a'],
    ['1', 'b'],
  ])
})

test('--json is one document, with the place to go on', async () => {
  await start({ 'GET /v1/organization/calls': page([call('req_1')], null) })
  expect(JSON.parse((await run('calls', 'list', '--json')).stdout)).toEqual({
    object: 'list',
    data: [call('req_1')],
    has_more: false,
    next: null,
  })
})

test('one call, and what was said in it, without the control characters of others', async () => {
  await start({
    'GET /v1/organization/calls/req_1': call('req_1'),
    'GET /v1/organization/calls/req_1/payload': {
      request: { text: '{"a":1}', bytes: 7, truncated: false },
      answer: { text: 'one\n\u001b[2Jtwo', bytes: 9_000, truncated: true },
    },
  })
  expect((await run('calls', 'show', 'req_1')).stdout).toMatch(/^cost_usd +0.00375$/m)
  const { stdout } = await run('calls', 'show', 'req_1', '--payload')
  expect(stdout).toBe('request (7 bytes)\n{"a":1}\n\nanswer (9,000 bytes, cut)\none\n[2Jtwo\n')
})

test('capturing is shown, turned on and deleted for a project', async () => {
  const setting = { object: 'project.payload_capture', enabled: true, retention_days: 7, max_bytes: 1_024 }
  await start({
    'GET /v1/organization/projects': list([{ id: 'proj_1', name: 'Default', status: 'active' }]),
    'GET /v1/organization/projects/proj_1/payload_capture': { ...setting, enabled: false },
    'POST /v1/organization/projects/proj_1/payload_capture': setting,
    'DELETE /v1/organization/projects/proj_1/payload_capture': { deleted: true },
  })
  expect((await run('calls', 'capture')).stdout).toBe('Nothing is captured in Default.\n')
  expect((await run('calls', 'capture', 'on', '--days', '7')).stdout).toContain('1,024 bytes of each')
  expect(JSON.parse(api.asked.at(-1)?.body ?? '')).toEqual({ enabled: true, retention_days: 7 })
  expect((await run('calls', 'capture', 'delete')).stdout).toContain('gone')
  expect((await run('calls', 'capture', 'maybe')).code).toBe(2)
})

test('an export is written whole or not at all', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kh-'))
  try {
    await start({
      'GET /v1/organization/usage/export': (_asked: unknown, response: { end(text: string): void }) =>
        response.end('a,b\r\n'),
      'GET /v1/organization/costs/export': refuse(403, 'Missing scopes.'),
    })
    const file = join(folder, 'usage.csv')
    const { code, stdout } = await run(
      'usage',
      'export',
      '--days',
      '2',
      '--width',
      '1h',
      '--by',
      'model',
      '--output',
      file,
    )
    expect([code, stdout, await readFile(file, 'utf8')]).toEqual([0, '', 'a,b\r\n'])
    expect(Object.fromEntries(api.asked.at(-1)?.query ?? [])).toEqual({
      start_time: String(Date.parse('2026-11-09T00:00:00Z') / 1000),
      end_time: String(Date.parse('2026-11-11T00:00:00Z') / 1000),
      format: 'csv',
      bucket_width: '1h',
      group_by: 'model',
    })
    const refused = await run('usage', 'export', '--costs', '--output', join(folder, 'costs.csv'))
    expect(refused.code).not.toBe(0)
    await expect(readFile(join(folder, 'costs.csv'))).rejects.toThrow('ENOENT')
    const long = await run('usage', 'export', '--output', join(folder, 'x'.repeat(300)))
    expect([long.code, long.stderr]).toEqual([1, expect.stringContaining('could not be written: ENAMETOOLONG')])
    expect((await run('usage', 'export')).stdout).toBe('a,b\r\n')
    await run('usage', 'export', '--json')
    expect(api.asked.at(-1)?.query.get('format')).toBe('json')
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
