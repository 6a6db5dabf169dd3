import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { version } from '#src/version.ts'
import { checkNode } from '../doctor/machine.ts'
import { checkProxy } from '../doctor/proxy.ts'
import { type Api, adminKey, list, type RunOptions, refuse, runCli, runOn, startApi } from '../testing.ts'

const status = {
  object: 'platform.status',
  version,
  node_version: '24.0.0',
  uptime_seconds: 7_300,
  data_dir: tmpdir(),
  database: { kind: 'embedded', version: '18.4', ok: true, latency_ms: 0.4, size_bytes: 12_000_000 },
  journal: { waiting: 0, bytes: 0, refusal: null, last_error: null, rejected: 0 },
  cluster: { nodes: 1, rate_limits: 'memory' },
  ledger: { findings: 0 },
  mail: { set_up: true, failed: 0, organizations_unreached: 0 },
}
const model = { name: 'tinyllama', price: {}, local: { status: 'ready', percent: null } }
const host = { name: 'openai', base_url: 'https://api.example/v1', credential_hint: '…abcd' }

type Routes = Parameters<typeof startApi>[0]
const apis: Api[] = []
let home: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'keyhouse-cli-'))
})
afterEach(async () => {
  for (const api of apis.splice(0)) await api.close()
  rmSync(home, { recursive: true })
})

async function healthy(changes: Routes = {}): Promise<Api> {
  const api = await startApi({
    'GET /health/ready': { status: 'ok' },
    'GET /v1/platform/status': status,
    'GET /v1/platform/models': list([model]),
    'GET /v1/platform/providers': list([host, { name: 'local', base_url: null, credential_hint: null }]),
    ...changes,
  })
  apis.push(api)
  return api
}

type Found = { name: string; outcome: string; proof: string; mend: string | null }

async function doctor(api: Api, options: RunOptions = {}) {
  const { code, stdout } = await runOn(api, ['doctor', '--json'], options)
  const { ok, data } = JSON.parse(stdout)
  return { code, ok, of: (name: string): Found => data.find((check: Found) => check.name === name) }
}

test('a healthy server passes, with proof', async () => {
  const api = await healthy()
  const { code, stdout } = await runOn(api, ['doctor'])
  expect(code).toBe(0)
  expect(stdout).toContain(`✓ server       answers at ${api.url}`)
  expect(stdout).toContain('✓ database     embedded PostgreSQL 18.4, 12.0 MB, answers in 0.4 ms')
  expect(stdout).not.toContain('✗')
})

test('with the server down it says so, how to start it, and what it can still see', async () => {
  const { code, stdout } = await runCli(['doctor', '--url', 'http://127.0.0.1:1'], { home })
  expect(code).toBe(1)
  expect(stdout).toMatch(
    /✗ server +nothing at http:\/\/127\.0\.0\.1:1 \(from --url\): .*\n +→ Start it with `keyhouse start`/,
  )
  expect(stdout).toMatch(/✓ node +Node \d/)
  expect(stdout).toMatch(/[✓!✗] disk +.* free for /)
})

test('another program on the port is told from a Keyhouse, and gets no key', async () => {
  const other = await startApi({})
  apis.push(other)
  const { of, code } = await doctor({ ...other, url: `${other.url}/elsewhere` })
  expect([code, of('server').outcome, of('key').outcome]).toEqual([1, 'wrong', 'unknown'])
  expect(of('server').proof).toContain('another program answers')
})

const broken: [name: string, outcome: string, changes: Routes, mend: string][] = [
  ['ready', 'wrong', { 'GET /health/ready': { status: 'unavailable', reasons: ['the disk is full'] } }, 'Mend that'],
  ['version', 'warning', { 'GET /v1/platform/status': { ...status, version: '9.9.9' } }, 'Restart the server'],
  [
    'database',
    'wrong',
    { 'GET /v1/platform/status': { ...status, database: { kind: 'external', ok: false } } },
    'DATABASE_URL',
  ],
  [
    'journal',
    'wrong',
    { 'GET /v1/platform/status': { ...status, journal: { refusal: 'the disk is full' } } },
    'Free disk space',
  ],
  [
    'limits',
    'warning',
    { 'GET /v1/platform/status': { ...status, cluster: { nodes: 2, rate_limits: 'alone' } } },
    'Bring back the Redis',
  ],
  [
    'limits',
    'warning',
    { 'GET /v1/platform/status': { ...status, cluster: { nodes: 2, rate_limits: 'memory' } } },
    'one REDIS_URL',
  ],
  [
    'mail',
    'warning',
    { 'GET /v1/platform/status': { ...status, mail: { ...status.mail, organizations_unreached: 1 } } },
    '--role owner',
  ],
  [
    'models',
    'warning',
    { 'GET /v1/platform/models': list([{ ...model, local: { status: 'absent' } }]) },
    'models pull tinyllama',
  ],
  [
    'models',
    'warning',
    { 'GET /v1/platform/models': list([{ ...model, local: null, price: null }]) },
    'prices set tinyllama',
  ],
  [
    'models',
    'warning',
    { 'GET /v1/platform/models': list([{ ...model, name: 'keyhouse-test-chat' }]) },
    'providers add',
  ],
  [
    'providers',
    'warning',
    { 'GET /v1/platform/providers': list([{ ...host, credential_hint: null }]) },
    'providers add openai',
  ],
]

test.each(broken)('%s: %s, with the step that mends it', async (name, outcome, changes, mend) => {
  const { of, ok, code } = await doctor(await healthy(changes))
  expect(of(name).outcome).toBe(outcome)
  expect(of(name).mend).toContain(mend)
  expect([ok, code]).toEqual(outcome === 'wrong' ? [false, 1] : [true, 0])
})

test('what the server fails at is found, and the rest is still looked at', async () => {
  const api = await healthy({ 'GET /v1/platform/models': refuse(500, 'The server had an error.') })
  const { of } = await doctor(api)
  expect(of('models')).toMatchObject({ outcome: 'wrong', mend: "See the server's log." })
  expect([of('key').outcome, of('providers').outcome]).toEqual(['ok', 'ok'])
})

test('clocks that disagree are found', async () => {
  const { of } = await doctor(await healthy(), { nowMs: Date.now() + 7_200_000 })
  expect([of('clock').outcome, of('clock').proof]).toEqual(['warning', expect.stringMatching(/is (2 h|119 min) away/)])
})

test('a refused key is wrong, a missing one as well', async () => {
  const api = await healthy()
  const refused = await doctor(api, { env: { KEYHOUSE_ADMIN_KEY: `${adminKey}x` } })
  expect([refused.code, refused.of('key').outcome, refused.of('models').outcome]).toEqual([1, 'wrong', 'unknown'])
  const { code, stdout } = await runCli(['doctor', '--json', '--url', api.url], { home })
  expect([code, stdout.includes('there is none')]).toEqual([1, true])
})

test('a cli.json that others can read is found', async () => {
  const api = await healthy()
  const file = join(home, 'cli.json')
  writeFileSync(file, JSON.stringify({ url: api.url, key: adminKey }))
  chmodSync(file, 0o644)
  const { of } = await doctor(api, { env: { KEYHOUSE_DATA_DIR: home } })
  expect([of('cli.json').outcome, of('cli.json').mend]).toEqual(['wrong', expect.stringContaining('chmod 600')])
})

test('without a mail server nobody is asked for an address', async () => {
  const mail = { set_up: false, failed: 0, organizations_unreached: 1 }
  const { of } = await doctor(await healthy({ 'GET /v1/platform/status': { ...status, mail } }))
  expect(of('mail')).toMatchObject({ outcome: 'ok', proof: 'none is sent: no mail server is set up' })
})

test('a proxy of the environment is told, whichever way it is spelled, and its password is not', async () => {
  for (const name of ['http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY']) {
    const { of, code } = await doctor(await healthy(), { env: { [name]: 'http://ada:secret@proxy.example:3128/' } })
    expect([code, of('proxy').outcome]).toEqual([0, 'warning'])
    expect(of('proxy').proof).toMatch(new RegExp(`^${name} is set: .* through http://proxy\\.example:3128$`))
    expect(of('proxy').mend).toContain('add 127.0.0.1 to NO_PROXY')
  }
  const down = await runCli(['doctor', '--json', '--url', 'https://127.0.0.1:1'], {
    env: { https_proxy: 'proxy:1' },
    home,
  })
  expect(down.stdout).toContain('https_proxy is set')
})

const spared: [noProxy: string, url: string, outcome: string][] = [
  ['127.0.0.1', 'http://127.0.0.1:8484', 'ok'],
  ['a.example, 127.0.0.1:8484', 'http://127.0.0.1:8484', 'ok'],
  ['127.0.0.1:80', 'http://127.0.0.1:8484', 'warning'],
  ['*', 'http://keyhouse.example', 'ok'],
  ['example', 'http://keyhouse.EXAMPLE', 'ok'],
  ['.keyhouse.example', 'http://keyhouse.example:80', 'ok'],
  ['*.example', 'http://keyhouse.example', 'ok'],
  ['house.example', 'http://keyhouse.example', 'warning'],
  ['::1', 'http://[::1]:8484', 'ok'],
  ['[::1]:8484', 'http://[::1]:8484', 'ok'],
  ['', 'http://127.0.0.1:8484', 'warning'],
  [' , ', 'http://127.0.0.1:8484', 'warning'],
]
test.each(spared)('NO_PROXY=%s for %s: %s', (list, url, outcome) => {
  expect(checkProxy(new URL(url), { HTTP_PROXY: 'http://proxy:1', NO_PROXY: list }).outcome).toBe(outcome)
  expect(checkProxy(new URL(url), { HTTP_PROXY: 'http://proxy:1', no_proxy: list }).outcome).toBe(outcome)
})

test('a proxy for the other protocol is none', () => {
  expect(checkProxy(new URL('http://127.0.0.1'), { HTTPS_PROXY: 'http://proxy:1' }).outcome).toBe('ok')
  expect(checkProxy(new URL('https://127.0.0.1'), { http_proxy: 'http://proxy:1' }).outcome).toBe('ok')
})

test('an old Node is told to be replaced', () => {
  expect(['20.11.0', '22.18.0', '22.19.0', '24.1.0'].map(node => checkNode(node).outcome)).toEqual([
    'wrong',
    'wrong',
    'ok',
    'ok',
  ])
})
