/** What an operator sees: alive and ready, metrics, one clear line when it cannot start, and an end that loses nothing. */
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Books } from './support/books.ts'
import { runCommand } from './support/command.ts'
import { startGateway, type TestGateway } from './support/gateway.ts'
import { newDataDir, type RunningKeyhouse, removeDataDir, startKeyhouse } from './support/keyhouse.ts'
import { processesOf } from './support/processes.ts'
import { converse } from './support/raw-http.ts'
import { expectRefusal } from './support/refusals.ts'
import { eventsOf, readAll } from './support/streams.ts'

const quietly = ['--port', '0', '--local-model', 'off', '--log-level', 'warn']

const cases = {
  slow: { latencyMs: 700 },
  'a second': { outputTokens: 50, chunkIntervalMs: 20 },
  endless: { outputTokens: 5_000, chunkIntervalMs: 20 },
}

describe('a running server', () => {
  let gateway: TestGateway

  beforeAll(async () => {
    gateway = await startGateway({ cases, settings: { 'calls-max': '5', 'metrics-token': 'let-me-read' } })
  })

  afterAll(() => gateway.stop())

  test('is live and ready, and says so without a key', async () => {
    for (const path of ['/health/live', '/health/ready']) {
      const response = await fetch(gateway.url + path)
      expect(response.status).toBe(200)
      expect(await response.json()).toEqual({ status: 'ok' })
      expect(response.headers.get('cache-control')).toBe('no-store')
    }
  })

  test('shows its metrics to whoever has the token', async () => {
    await (await gateway.chat('plain')).json()
    await gateway.chat('plain', { max_tokens: -1 })
    const read = (token: string) => fetch(`${gateway.url}/metrics`, { headers: { authorization: `Bearer ${token}` } })
    await expectRefusal(await fetch(`${gateway.url}/metrics`), { status: 401 })
    await expectRefusal(await read('let-me-guess'), { status: 401 })
    await expectRefusal(await read(gateway.keys.admin), { status: 401 })
    const response = await read('let-me-read')
    expect(response.headers.get('content-type')).toContain('text/plain; version=')
    const text = await response.text()
    expect(text).toMatch(/^keyhouse_calls_total\{endpoint="chat\.completions",model="m",.*outcome="complete"\} 1$/m)
    expect(text).toMatch(/^keyhouse_refusals_total\{code="invalid_parameter"\} 1$/m)
    expect(text).toMatch(/^keyhouse_tokens_total\{.*direction="output"\} [1-9]/m)
    expect(text).toMatch(/^keyhouse_cost_nano_usd_total\{.*\} [1-9]/m)
    expect(text).toMatch(/^keyhouse_auth_staleness_seconds 0\.\d/m)
    expect(text).toMatch(/^keyhouse_calls_active 0$/m)
  })

  test('refuses calls beyond its bound, and takes them again as soon as others end', async () => {
    const answers = await Promise.all(Array.from({ length: 12 }, () => gateway.chat('slow')))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(5)
    for (const response of answers.filter(({ status }) => status !== 200)) {
      await expectRefusal(response, { status: 503, code: 'server_is_overloaded', type: 'service_unavailable_error' })
    }
    expect((await gateway.chat('plain')).status).toBe(200)
  })

  test('refuses a second server on its data directory, and names its own process', async () => {
    const { dataDir, pid } = gateway.keyhouse
    const { code, output } = await runCommand(['start', '--data-dir', dataDir, ...quietly])
    expect(code).not.toBe(0)
    expectOneLine(output, String(pid))
    expect((await gateway.chat('plain')).status).toBe(200)
  })
})

describe('a server that cannot start says why in one line', () => {
  let dataDir = ''

  beforeAll(async () => {
    dataDir = await newDataDir()
  })

  afterAll(() => removeDataDir(dataDir))

  const start = (args: readonly string[], env?: Record<string, string>) =>
    runCommand(['start', '--data-dir', join(dataDir, 'd'), ...quietly, ...args], env)

  test('a port that is in use', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await new Promise(resolve => other.once('listening', resolve))
    // A TCP server's address is never text.
    const { port } = other.address() as AddressInfo
    const { code, output } = await start(['--port', String(port)])
    other.close()
    expect(code).not.toBe(0)
    expectOneLine(output, `Port ${port} on 127.0.0.1 is in use`)
    expect(processesOf(dataDir)).toEqual([])
  })

  test('a first start that fails so does not use up the keys that are shown once', async () => {
    const dataDirOfItsOwn = await newDataDir()
    const other = createServer().listen(0, '127.0.0.1')
    await new Promise(resolve => other.once('listening', resolve))
    // A TCP server's address is never text.
    const { port } = other.address() as AddressInfo
    const { code } = await runCommand(['start', '--data-dir', dataDirOfItsOwn, ...quietly, '--port', String(port)])
    other.close()
    expect(code).not.toBe(0)
    const keyhouse = await startKeyhouse({ dataDir: dataDirOfItsOwn, settings: { 'local-model': 'off' } })
    expect(keyhouse.keys?.admin).toMatch(/^sk-kh-admin-/)
    await keyhouse.stop()
    await removeDataDir(dataDirOfItsOwn)
  })

  test.each<[what: string, args: string[], env: Record<string, string>, named: string]>([
    ['a flag with no number', ['--body-bytes-max', 'banana'], {}, 'body-bytes-max'],
    ['a flag out of bounds', ['--calls-max', '0'], {}, 'calls-max'],
    ['a choice that is none', ['--unpriced-models', 'maybe'], {}, 'unpriced-models'],
    ['an environment variable', [], { KEYHOUSE_DRAIN_MS: '-1' }, 'KEYHOUSE_DRAIN_MS'],
    ['two settings that do not fit', ['--auth-poll-ms', '900'], {}, 'auth-poll-ms'],
    ['a database that is none', [], { DATABASE_URL: 'mysql://nowhere' }, 'DATABASE_URL'],
    ['a pepper that is too short', ['--key-pepper', 'abc'], {}, 'key-pepper'],
  ])('%s', async (_, args, env, named) => {
    const { code, output } = await start(args, env)
    expect(code).not.toBe(0)
    expectOneLine(output, named)
    expect(output).not.toContain('abc')
  })

  test('a flag that does not exist', async () => {
    const { code, output } = await start(['--body-byte-max', '1'])
    expect(code).not.toBe(0)
    expect(output).toMatch(/^error: .*--body-byte-max/)
    expect(output).toContain('--body-bytes-max')
  })

  test('a line in the config file', async () => {
    const file = join(dataDir, 'keyhouse.conf')
    await writeFile(file, '# mine\nbody-bytes-max = 2000\nbody-byte-max = 3000\n')
    const { code, output } = await start(['--config', file])
    expect(code).not.toBe(0)
    expectOneLine(output, 'line 3')
  })

  test('a database that cannot be reached', async () => {
    const { code, output } = await start(['--database-timeout-ms', '500'], {
      DATABASE_URL: 'postgres://nobody:hunter2@127.0.0.1:9/nowhere',
    })
    expect(code).not.toBe(0)
    expect(output).not.toContain('hunter2')
    expectOneLine(output, '127.0.0.1')
  })

  test('a data directory that is a file', async () => {
    const file = join(dataDir, 'file')
    await writeFile(file, '')
    const { code, output } = await runCommand(['start', '--data-dir', file, ...quietly])
    expect(code).not.toBe(0)
    expectOneLine(output, file)
  })
})

describe('a server that is told to stop', () => {
  let gateway: TestGateway

  const start = async (settings: Record<string, string> = {}): Promise<RunningKeyhouse> => {
    gateway = await startGateway({ cases, settings })
    return gateway.keyhouse
  }

  afterEach(() => gateway.stop())

  test('finishes what runs, takes nothing new, ends with 0 and leaves no process and no lock', async () => {
    const keyhouse = await start()
    const stream = await gateway.chat('a second', { stream: true, max_tokens: 50 })
    const whole = gateway.chat('slow')
    await sleep(50)
    const stopping = keyhouse.stop()
    await expect.poll(() => connects(keyhouse.url), { timeout: 500, interval: 10 }).toBe(false)
    const { text } = await readAll(stream)
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
    const answered = await whole
    expect([answered.status, answered.headers.get('connection')]).toEqual([200, 'close'])
    expect(await stopping).toBe(0)
    expect(processesOf(keyhouse.dataDir)).toEqual([])
    const again = await gateway.restart()
    const books = await Books.open(keyhouse.dataDir)
    for (const response of [stream, answered]) {
      expect((await books.usageOf(response.headers.get('x-request-id'))).outcome).toBe('complete')
    }
    await books.expectBalanced()
    await books.close()
    expect(await again.stop()).toBe(0)
  })

  test('closes connections that wait for their next request', async () => {
    const keyhouse = await start()
    const idle = converse(keyhouse.url, ['GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n'], { waitMs: 5_000 })
    await sleep(100)
    expect(await keyhouse.stop()).toBe(0)
    expect(await idle).toMatchObject({ statuses: [200], closed: true })
  })

  test('cuts what does not end in time, tells it so, and charges it', async () => {
    const keyhouse = await start({ 'drain-ms': '300' })
    const stream = await gateway.chat('endless', { stream: true, max_tokens: 5_000 })
    const reading = readAll(stream)
    await sleep(100)
    const startedAtMs = performance.now()
    expect(await keyhouse.stop()).toBe(0)
    expect(performance.now() - startedAtMs).toBeLessThan(3_000)
    const { text } = await reading
    expect(eventsOf(text).at(-1)?.error?.code).toBe('server_shutting_down')
    expect(text).not.toContain('[DONE]')
    const again = await gateway.restart()
    const books = await Books.open(keyhouse.dataDir)
    const row = await books.usageOf(stream.headers.get('x-request-id'))
    expect(row).toMatchObject({ outcome: 'shutdown', estimated: true })
    expect(row.output_tokens).toBeGreaterThan(5)
    await books.expectBalanced()
    await books.close()
    expect(await again.stop()).toBe(0)
  })
})

/** A sentence for people: no stack, nothing twice. */
function expectOneLine(output: string, contains: string): void {
  const lines = output.split('\n').filter(line => line.trim() !== '')
  expect(lines, output).toHaveLength(1)
  expect(lines[0]).toContain(contains)
  expect(lines[0]).not.toMatch(/\bat .*:\d+:\d+|node:internal/)
}

function connects(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url)
  return new Promise(resolve => {
    const socket = connect(Number(port), hostname)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
