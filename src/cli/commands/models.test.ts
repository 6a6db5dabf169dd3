import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Api, type Asked, list, runOn, startApi } from '../testing.ts'

const model = (name: string, more: object = {}) => ({
  object: 'platform.model',
  name,
  kind: 'chat',
  price: { input_usd_per_million: '0.15', cached_input_usd_per_million: '0.075', output_usd_per_million: '0.60' },
  routes: [{ provider: 'openai', upstream_model: name }],
  aliases: [],
  local: null,
  ...more,
})
const local = (status: string, percent: number | null) => ({
  price: { input_usd_per_million: '0', cached_input_usd_per_million: null, output_usd_per_million: '0' },
  routes: [{ provider: 'local', upstream_model: 'x' }],
  local: { status, percent, bytes: 46_223_296, label: 'demo' },
})
const models = [
  model('gpt-4o-mini', { aliases: ['davinci-codex', 'fast'] }),
  model('tinyllama', local('downloading', 42)),
  model('minilm', { ...local('absent', null), kind: 'embedding' }),
  model('new', { price: null }),
  model('keyhouse-test-chat'),
]

let pullLines: string[]
let api: Api
beforeEach(async () => {
  pullLines = []
  const pull = (_asked: Asked, response: { end(text: string): void }) =>
    response.end(pullLines.map(line => `${line}\n`).join(''))
  api = await startApi({
    'GET /v1/platform/models': list(models),
    'POST /v1/platform/models/new/price': models[0] ?? {},
    'POST /v1/platform/model_aliases': { alias: 'davinci-codex', model: 'tinyllama' },
    'DELETE /v1/platform/model_aliases/davinci-codex': { deleted: true },
    'POST /v1/platform/models/tinyllama/pull': pull,
    'POST /v1/platform/models/minilm/pull': pull,
  })
})
afterEach(() => api.close())

const bodyOf = (path: string) =>
  JSON.parse(api.asked.find(asked => asked.method === 'POST' && asked.path === path)?.body ?? 'null')

describe('models list', () => {
  test('shows price, provider, status and aliases, and what to do about the rest', async () => {
    const { code, stdout } = await runOn(api, ['models', 'list'])
    expect(code).toBe(0)
    const rows = stdout.split('\n').map(line => line.split(/ {2,}/))
    expect(rows.slice(1, 5)).toEqual([
      ['gpt-4o-mini', 'chat', '$0.15 / $0.60', 'openai', 'ready', 'davinci-codex, fast'],
      ['tinyllama', 'chat', 'free', 'local', 'downloading 42 %', '-'],
      ['minilm', 'embedding', 'free', 'local', 'not fetched (46.2 MB)', '-'],
      ['new', 'chat', 'none', 'openai', 'no price', '-'],
    ])
    expect(stdout).toContain('Fetch it: keyhouse models pull minilm\n')
    expect(stdout).toContain('keyhouse prices set new --input USD --output USD')
  })

  test('leaves the test models out unless asked for all', async () => {
    expect((await runOn(api, ['models', 'list'])).stdout).toMatch(/\n\nTest models: 1 \(--all shows them\)\n$/)
    expect((await runOn(api, ['models', 'list', '--all'])).stdout).toMatch(/^keyhouse-test-chat +chat/m)
  })

  test('--json is what the API gave', async () => {
    expect(JSON.parse((await runOn(api, ['models', 'list', '--json'])).stdout).data).toEqual(models)
  })
})

describe('models alias', () => {
  test('sets and removes a name', async () => {
    const set = await runOn(api, ['models', 'alias', 'davinci-codex', 'tinyllama'])
    expect(set.stdout).toBe('davinci-codex now stands for tinyllama.\n')
    expect(bodyOf('/v1/platform/model_aliases')).toEqual({ alias: 'davinci-codex', model: 'tinyllama' })
    expect((await runOn(api, ['models', 'alias', 'davinci-codex', '--remove'])).code).toBe(0)
    expect((await runOn(api, ['models', 'alias', 'davinci-codex'])).code).toBe(2)
  })
})

describe('models pull', () => {
  const downloading = (bytesDone: number) =>
    JSON.stringify({
      status: 'downloading',
      part: 'part 1',
      bytes_done: bytesDone,
      bytes_total: 1_000,
      percent: bytesDone / 10,
    })

  test('without a name fetches all that are not here, in plain lines off a terminal', async () => {
    pullLines = [downloading(0), downloading(10), downloading(500), '{"status":"ready"}']
    const { code, stdout, stderr } = await runOn(api, ['models', 'pull'])
    expect([code, stdout]).toEqual([0, 'Ready: tinyllama, minilm.\n'])
    expect(stderr.split('\n').slice(0, 2)).toEqual(['part 1  0 %  0 B of 1.0 kB', 'part 1  50 %  500 B of 1.0 kB'])
    expect(stderr).not.toContain('\x1b')
  })

  test('draws a bar on a terminal and takes it away', async () => {
    pullLines = [downloading(500), '{"status":"ready"}']
    const { stderr } = await runOn(api, ['models', 'pull', 'tinyllama'], { isTTY: true, env: { NO_COLOR: '1' } })
    expect(stderr).toContain(`part 1  ${'█'.repeat(12)}${'░'.repeat(12)}  50 %  500 B of 1.0 kB`)
    expect(stderr.endsWith('\r\x1b[2K')).toBe(true)
  })

  test("says the server's reason when it failed", async () => {
    pullLines = [downloading(10), '{"status":"failed","reason":"The disk is full."}']
    const { code, stdout, stderr } = await runOn(api, ['models', 'pull', 'tinyllama', '--json'])
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toContain('error: The disk is full.')
  })

  test('a connection that ends early is not taken for ready', async () => {
    pullLines = [downloading(10)]
    const { code, stderr } = await runOn(api, ['models', 'pull', 'tinyllama'])
    expect([code, stderr]).toEqual([1, expect.stringContaining('It goes on fetching')])
  })

  test('a file from elsewhere needs its hash', async () => {
    pullLines = ['{"status":"ready"}']
    expect((await runOn(api, ['models', 'pull', 'tinyllama', '--from', '/x.gguf'])).code).toBe(2)
    const sha256 = 'ab'.repeat(32)
    await runOn(api, ['models', 'pull', 'tinyllama', '--from', import.meta.filename, '--sha256', sha256])
    expect(bodyOf('/v1/platform/models/tinyllama/pull')).toEqual({ from_file: import.meta.filename, sha256 })
  })
})
