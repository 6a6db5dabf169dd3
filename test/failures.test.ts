/**
 * The database hangs, the database dies, the disk is full: nobody is served whose key cannot be checked or whose use cannot
 * be written down, what runs is finished, and everything comes back by itself.
 */
import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Books } from './support/books.ts'
import { startGateway, type TestGateway } from './support/gateway.ts'
import { databaseProcesses, signalAll } from './support/processes.ts'
import { expectEnvelope, expectRefusal } from './support/refusals.ts'
import { readAll } from './support/streams.ts'

/** Stopping, killing and limiting other processes is asked of Linux here. */
const onLinux = process.platform === 'linux'

/** Of util-linux: changes what a running process may do. */
const setLimit = 'prlimit'

let gateway: TestGateway

const freshMs = 1_000
const databaseTimeoutMs = 1_000
const recoverMs = 8_000

beforeAll(async () => {
  gateway = await startGateway({
    settings: { 'first-credit-usd': '1000', 'database-timeout-ms': String(databaseTimeoutMs) },
    cases: { long: { outputTokens: 100, chunkIntervalMs: 30 }, slow: { latencyMs: 400 } },
  })
})

afterAll(() => gateway.stop())

type Seen = { readonly beganAtMs: number; readonly tookMs: number; readonly status: number; readonly text: string }

/** Calls from several callers, until told to stop; everything that came back. */
function load(callers = 6): { seen: Seen[]; stop(): Promise<void> } {
  const seen: Seen[] = []
  let over = false
  const caller = async (): Promise<void> => {
    while (!over) {
      const beganAtMs = performance.now()
      const response = await gateway.chat('plain', { max_tokens: 5 })
      const text = await response.text()
      seen.push({ beganAtMs, tookMs: performance.now() - beganAtMs, status: response.status, text })
      await sleep(10)
    }
  }
  const running = Array.from({ length: callers }, caller)
  return {
    seen,
    async stop() {
      over = true
      await Promise.all(running)
    },
  }
}

const status = async (path: string): Promise<number> => (await fetch(gateway.url + path)).status
const answered = async (): Promise<number> => (await gateway.chat('plain', { max_tokens: 5 })).status
const ms = (time: number): string => `${Math.round(time)} ms`

/** Only answers and refusals for want of the database; past the bound, for as long as it was away, no answer at all. */
function expectNobodyServedUnchecked(seen: readonly Seen[], awayAtMs: number, backAtMs: number): void {
  expect([...new Set(seen.map(each => each.status))].sort()).toEqual([200, 503])
  const away = seen.filter(({ beganAtMs }) => beganAtMs > awayAtMs && beganAtMs < backAtMs)
  // One that began while it was away and was answered after it came back has been checked
  const unchecked = away.filter(each => each.status === 200 && each.beganAtMs + each.tookMs < backAtMs)
  const late = unchecked.map(({ beganAtMs }) => beganAtMs - awayAtMs)
  const refused = away.filter(each => each.status === 503)
  for (const { text } of refused)
    expectEnvelope(text, { code: 'storage_unavailable', type: 'service_unavailable_error' })
  const slowest = Math.max(0, ...refused.map(({ tookMs }) => tookMs))
  console.log(
    `database away: last answer began ${ms(Math.max(0, ...late))} after, ${refused.length} refused, slowest ${ms(slowest)}`,
  )
  expect(Math.max(0, ...late)).toBeLessThan(freshMs)
}

describe.runIf(onLinux)('the database', () => {
  /** What is seen past the bound, and of a stream that began before. */
  async function whileAway(reading: ReturnType<typeof readAll>) {
    await sleep(freshMs + 500)
    const [live, ready] = [await status('/health/live'), await status('/health/ready')]
    // Whoever reads the metrics has a deadline, too
    const metrics = await fetch(`${gateway.url}/metrics`, { signal: AbortSignal.timeout(databaseTimeoutMs) })
    return { live, ready, metrics: await metrics.text(), text: (await reading).text }
  }

  test('hangs: 503 from one second on and never 200, streams finish, and it goes on by itself', async () => {
    expect(await answered()).toBe(200)
    const calls = load()
    await sleep(200)
    const stream = await gateway.chat('long', { stream: true, max_tokens: 100 })
    const reading = readAll(stream)
    const stopped = databaseProcesses(gateway.keyhouse.dataDir)
    signalAll(stopped, 'SIGSTOP')
    const awayAtMs = performance.now()
    const { text, ready, live, metrics } = await whileAway(reading).finally(() => signalAll(stopped, 'SIGCONT'))
    const backAtMs = performance.now()
    expect([live, ready]).toEqual([200, 503])
    expect(metrics).toContain('keyhouse_troubles{trouble="database_away"} 1')
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
    await expect.poll(answered, { timeout: recoverMs, interval: 50 }).toBe(200)
    console.log(`database hung for ${ms(backAtMs - awayAtMs)}: served again after ${ms(performance.now() - backAtMs)}`)
    await calls.stop()
    expectNobodyServedUnchecked(calls.seen, awayAtMs, backAtMs)
    expect(calls.seen.filter(({ beganAtMs }) => beganAtMs > awayAtMs + freshMs).some(each => each.status === 503)).toBe(
      true,
    )
    await expect.poll(() => status('/health/ready'), { timeout: recoverMs }).toBe(200)
    const books = await Books.open(gateway.keyhouse.dataDir)
    expect((await books.usageOf(stream.headers.get('x-request-id'))).outcome).toBe('complete')
    const answers = calls.seen.filter(each => each.status === 200).length
    expect(answers).toBeGreaterThan(20)
    await books.expectBalanced()
    await books.close()
  })

  test('hangs while many calls wait for credit: all of them are refused together, not one after the other', async () => {
    expect(await answered()).toBe(200)
    const stopped = databaseProcesses(gateway.keyhouse.dataDir)
    signalAll(stopped, 'SIGSTOP')
    const startedAtMs = performance.now()
    // More than any lease holds, so that each of them has to ask the database
    const calls = Array.from({ length: 20 }, () => gateway.chat('plain', { max_tokens: 400_000 }))
    const answers = await Promise.all(calls).finally(() => signalAll(stopped, 'SIGCONT'))
    const tookMs = performance.now() - startedAtMs
    for (const response of answers) await expectRefusal(response, { status: 503, code: 'storage_unavailable' })
    console.log(`20 calls that waited for credit: refused after ${ms(tookMs)}`)
    expect(tookMs).toBeLessThan(4 * databaseTimeoutMs)
    await expect.poll(answered, { timeout: recoverMs, interval: 50 }).toBe(200)
  })

  test('is killed: it is started again, nobody is served unchecked, streams finish, no usage is lost', async () => {
    const calls = load()
    await sleep(200)
    const stream = await gateway.chat('long', { stream: true, max_tokens: 100 })
    const reading = readAll(stream)
    const [main = 0] = databaseProcesses(gateway.keyhouse.dataDir)
    process.kill(main, 'SIGKILL')
    const awayAtMs = performance.now()
    const readyAgain = expect.poll(() => status('/health/ready'), { timeout: recoverMs, interval: 20 })
    await sleep(100)
    await readyAgain.toBe(200)
    const readyMs = performance.now() - awayAtMs
    const { text } = await reading
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
    await expect.poll(answered, { timeout: recoverMs, interval: 50 }).toBe(200)
    const refused = calls.seen.filter(each => each.status === 503)
    const slowest = Math.max(0, ...refused.map(({ tookMs }) => tookMs))
    console.log(`database killed: ready ${ms(readyMs)} later, ${refused.length} refused, slowest ${ms(slowest)}`)
    await sleep(500)
    await calls.stop()
    expect(calls.seen.every(each => each.status === 200 || each.status === 503)).toBe(true)
    const books = await Books.open(gateway.keyhouse.dataDir)
    const row = await books.usageOf(stream.headers.get('x-request-id'))
    expect(row.outcome).toBe('complete')
    await books.expectBalanced()
    const [{ rows } = { rows: 0 }] = await books.query<{ rows: number }>(
      'select count(distinct request_id)::int as rows from usage_events',
    )
    expect(rows).toBeGreaterThanOrEqual(calls.seen.filter(each => each.status === 200).length)
    await books.close()
  })

  test('is killed while a key is revoked: the key stays dead', async () => {
    const key = await gateway.newKey()
    const headers = { authorization: `Bearer ${key.value}` }
    expect((await gateway.chat('plain', {}, { headers })).status).toBe(200)
    await gateway.admin('DELETE', key.path)
    const [main = 0] = databaseProcesses(gateway.keyhouse.dataDir)
    process.kill(main, 'SIGKILL')
    for (const untilMs = performance.now() + 3_000; performance.now() < untilMs; await sleep(50)) {
      const { status: got } = await gateway.chat('plain', {}, { headers })
      expect([401, 503]).toContain(got)
    }
    await expect
      .poll(async () => (await gateway.chat('plain', {}, { headers })).status, { timeout: recoverMs })
      .toBe(401)
    await expect.poll(answered, { timeout: recoverMs }).toBe(200)
  })
})

describe.runIf(onLinux)('the disk', () => {
  /** What the server may still write to a file; lifted again with null. */
  const limitFiles = (bytes: number | null): void => {
    execFileSync(setLimit, ['--pid', String(gateway.keyhouse.pid), `--fsize=${bytes ?? 'unlimited'}:unlimited`])
  }

  test('refuses to be written: new calls get 503 before they cost anything, and pass again when it takes writes', async () => {
    const running = gateway.chat('slow', { max_tokens: 5 })
    await sleep(100)
    limitFiles(1)
    // Admitted before: it was answered by the provider, but nobody could write down what it used
    await expectRefusal(await running, { status: 503, code: 'storage_full' })
    const before = gateway.upstream.requestCount()
    for (let call = 0; call < 3; call += 1) {
      await expectRefusal(await gateway.chat('plain', { max_tokens: 5 }), { status: 503, code: 'storage_full' })
    }
    expect(gateway.upstream.requestCount()).toBe(before)
    expect(await status('/health/live')).toBe(200)
    expect(await status('/health/ready')).toBe(503)
    limitFiles(null)
    await expect.poll(answered, { timeout: 3_000, interval: 100 }).toBe(200)
    await expect.poll(() => status('/health/ready')).toBe(200)
    const told = gateway.keyhouse.output().match(/"trouble":"journal_unwritable"/g)
    // Once when it began, once when it was over
    expect(told).toHaveLength(2)
  })

  test('what nobody could write down stays held, and a restart gives it back', async () => {
    const { dataDir } = gateway.keyhouse
    const response = await gateway.chat('plain', { max_tokens: 5 })
    const requestId = response.headers.get('x-request-id')
    await response.json()
    expect(await gateway.keyhouse.stop()).toBe(0)
    expect(gateway.keyhouse.output()).not.toContain('damaged')
    const restarted = await gateway.restart()
    const books = await Books.open(dataDir)
    expect((await books.usageOf(requestId)).outcome).toBe('complete')
    await books.expectBalanced()
    await books.close()
    expect(await restarted.stop()).toBe(0)
  })
})
