/**
 * The row "PostgreSQL" of the table of faults, with a proxy between a node and its database that cuts, hangs, or is slow:
 * who is served, what can be spent, what becomes of running streams, and that all of it comes back by itself. The row "NOTIFY
 * only" is in revocation-cluster.test.ts; the database that is killed and the full disk are in failures.test.ts.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type FakeUpstream, startFakeUpstream } from '../src/providers/fake/upstream.ts'
import { Books } from './support/books.ts'
import { type Cluster, startCluster } from './support/cluster.ts'
import type { FaultProxy } from './support/fault-proxy.ts'
import { modelIsThere, prepareMoney } from './support/limited-keys.ts'
import { expectMoneyHolds, expectNothingHeld } from './support/money-rules.ts'
import {
  type Answered,
  answeredAgain,
  callModel,
  callSteadily,
  percentile,
  postChat,
  shownMs,
  statusesFrom,
} from './support/steady-calls.ts'
import { readAll } from './support/streams.ts'

const timeoutMs = 90_000
const freshMs = 1_000
/** A call that must ask the database is refused after this, on top of the time in which it was answered from memory. */
const askMsMax = 1_000
const schedulingMs = 700
const databaseTimeoutMs = 2_000
/** For money that is not in hand a statement is waited for, and the wait for its end is a second longer. */
const moneyMsMax = databaseTimeoutMs + 1_000
const slowMs = 2_000
const beforeMs = 300
const recoveryMsMax = 15_000
const handBackMsMax = 10_000
const readyMsMax = 7_000

const faults: readonly {
  readonly fault: string
  readonly awayMs: number
  begin(proxy: FaultProxy): Promise<void> | void
}[] = [
  { fault: 'cut', awayMs: 3_000, begin: proxy => proxy.cut() },
  { fault: 'hung', awayMs: 5_000, begin: proxy => proxy.hang() },
  { fault: `slow by ${slowMs} ms`, awayMs: 6_000, begin: proxy => proxy.slow(slowMs) },
]

let upstream: FakeUpstream

beforeAll(async () => {
  upstream = await startFakeUpstream({
    recordsMax: 0,
    behaviour: ({ body }) => {
      if (body.user === 'long') return { outputTokens: 100, chunkIntervalMs: 40 }
      return { outputTokens: body.user === 'brief' ? 1 : 5 }
    },
  })
})

afterAll(() => upstream.stop())

/** Two nodes; the first one reaches the database through a proxy. */
async function startPair(settings: Record<string, string>): Promise<Cluster> {
  const cluster = await startCluster({
    nodes: 2,
    proxied: [0],
    settings: { 'first-credit-usd': '100', 'lease-idle-ms': '1000', ...settings },
  })
  const { admin: adminKey, project: projectKey } = cluster.keys
  await prepareMoney({ url: cluster.node(1).url, adminKey, projectKey }, upstream.url)
  for (const { url } of cluster.nodes) await modelIsThere(url, projectKey)
  return cluster
}

type Key = { readonly value: string; readonly path: string }

async function newKey(cluster: Cluster, body: Record<string, unknown> = {}): Promise<Key> {
  const { data } = await cluster.admin<{ data: { id: string }[] }>('GET', '/v1/organization/projects', undefined, 1)
  const keys = `/v1/organization/projects/${data[0]?.id}/api_keys`
  const { id, value } = await cluster.admin<{ id: string; value: string }>('POST', keys, { name: 'fault', ...body }, 1)
  return { value, path: `${keys}/${id}` }
}

const health = async (url: string, path: string): Promise<number> => {
  const response = await fetch(`${url}/health/${path}`, { signal: AbortSignal.timeout(readyMsMax) })
  await response.arrayBuffer()
  return response.status
}

describe('while a node cannot reach its database', () => {
  let cluster: Cluster
  let books: Books

  beforeAll(async () => {
    cluster = await startPair({ 'database-timeout-ms': String(databaseTimeoutMs) })
    books = await Books.open(cluster.home)
  }, timeoutMs)

  afterAll(async () => {
    await books?.close()
    await cluster?.stop()
  }, timeoutMs)

  test.for(faults)(
    '$fault: cached keys for a second, then 503, never the dead one; streams finish and are charged',
    { timeout: timeoutMs },
    async ({ fault, awayMs, begin }) => {
      const { url } = cluster.node(0)
      const [living, dying] = [await newKey(cluster), await newKey(cluster)]
      const loads = [living, dying].map(({ value }) => callSteadily(url, value, 3))
      const elsewhere = callSteadily(cluster.node(1).url, living.value, 2)
      await sleep(beforeMs)
      const stream = await postChat(url, living.value, { user: 'long', stream: true, max_tokens: 100 })
      const reading = readAll(stream)

      await begin(cluster.proxy(0))
      const awayAtMs = performance.now()
      await cluster.admin('DELETE', dying.path, undefined, 1)
      const deadAtMs = performance.now()
      await sleep(freshMs + schedulingMs)
      const [live, ready] = await Promise.all([health(url, 'live'), health(url, 'ready')])
      await sleep(Math.max(0, awayMs - (performance.now() - awayAtMs)))
      const { text } = await reading
      const backAtMs = performance.now()
      await cluster.proxy(0).restore()

      const again = (await answeredAgain(url, living.value, recoveryMsMax)) - backAtMs
      await Promise.all([...loads, elsewhere].map(load => load.stop()))
      const [ofLiving = [], ofDying = []] = loads.map(({ seen }) => seen)
      const away = [...ofLiving, ...ofDying].filter(({ endedAtMs }) => endedAtMs < backAtMs)
      const refused = away.filter(({ status }) => status === 503)
      const last = Math.max(
        0,
        ...away.filter(({ status }) => status === 200).map(({ beganAtMs }) => beganAtMs - awayAtMs),
      )
      const waitsOf = (calls: readonly Answered[]): number[] =>
        calls.map(({ beganAtMs, endedAtMs }) => endedAtMs - beganAtMs)
      const forMoney = waitsOf(refused.filter(({ beganAtMs }) => beganAtMs < awayAtMs + freshMs))
      const forKeys = waitsOf(refused.filter(({ beganAtMs }) => beganAtMs >= awayAtMs + freshMs))
      console.log(
        `database ${fault}: last answer began ${shownMs(last)} after, ${refused.length} refused, those of the first second ` +
          `within ${shownMs(Math.max(0, ...forMoney))}, later ones p99 ${shownMs(percentile(forKeys, 0.99))}; served again ` +
          `${shownMs(again)} after it was back`,
      )

      expect([live, ready]).toEqual([200, 503])
      expect(last).toBeLessThan(freshMs)
      expect(new Set(refused.map(({ code }) => code))).toEqual(new Set(['storage_unavailable']))
      expect(forKeys.length).toBeGreaterThan(0)
      expect(percentile(forKeys, 0.99)).toBeLessThan(askMsMax + schedulingMs)
      expect(Math.max(0, ...forMoney)).toBeLessThan(moneyMsMax + schedulingMs)
      expect(statusesFrom(ofDying, deadAtMs + freshMs)).not.toContain(200)
      expect(statusesFrom(ofLiving, 0)).toEqual([200, 503])
      expect(statusesFrom(elsewhere.seen, 0)).toEqual([200])
      expect((await callModel(url, dying.value)).status).toBe(401)
      expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
      expect((await books.usageOf(stream.headers.get('x-request-id'))).outcome).toBe('complete')
      await expect.poll(() => health(url, 'ready'), { timeout: recoveryMsMax }).toBe(200)
      await expectNothingHeld(books, fault, handBackMsMax)
      await expectMoneyHolds(books, fault)
    },
  )
})

/** Nodes hear of one another every two seconds, and then poll for what others need. */
const acquaintedMs = 2_500
/** Five tokens are held, one is used. */
const dearModel = { name: 'm', kind: 'chat', input_usd_per_million: '0', output_usd_per_million: '1000' }
const creditUsd = '0.009'
/** A call waits half a second for what others hold. */
const recallMsMax = 500 + schedulingMs

test('a node gets back what another one holds and does not need, though every notification is lost', {
  timeout: timeoutMs,
}, async () => {
  const cluster = await startCluster({ nodes: 2, settings: { 'first-credit-usd': creditUsd } })
  const books = await Books.open(cluster.home)
  try {
    const { project: key } = cluster.keys
    const provider = { name: 'upstream', base_url: `${upstream.url}/v1`, api_key: 'sk-secret', models: [dearModel] }
    await cluster.admin('POST', '/v1/platform/providers', provider)
    for (const { url } of cluster.nodes) await modelIsThere(url, key)
    await books.query(`create or replace function recall_leases(scope text) returns void language sql as
        $$ insert into lease_recalls (scope_id) values (scope) $$`)
    await sleep(acquaintedMs)
    expect((await callModel(cluster.node(0).url, key, { user: 'brief' })).status).toBe(200)
    const call = await callModel(cluster.node(1).url, key, { user: 'brief' })
    const tookMs = call.endedAtMs - call.beganAtMs
    console.log(`recall, notification lost: the other node answered after ${shownMs(tookMs)} (${call.status})`)
    expect(call.status).toBe(200)
    expect(tookMs).toBeLessThan(recallMsMax)
    await expectMoneyHolds(books, 'recalled')
  } finally {
    await books.close()
    await cluster.stop()
  }
})

const stopMsMax = 35_000

test('a node that is told to stop while its database hangs stops, and what was used meanwhile is charged after the next start', {
  timeout: timeoutMs,
}, async () => {
  const cluster = await startPair({ 'database-timeout-ms': String(databaseTimeoutMs) })
  const books = await Books.open(cluster.home)
  try {
    const { url } = cluster.node(0)
    const { project: key } = cluster.keys
    // The next call's money is in hand after these
    for (let call = 0; call < 3; call += 1) expect((await callModel(url, key)).status).toBe(200)
    cluster.proxy(0).hang()
    const last = await callModel(url, key)
    expect(last.status).toBe(200)
    const toldAtMs = performance.now()
    expect(await cluster.node(0).stop()).toBe(0)
    const tookMs = performance.now() - toldAtMs
    console.log(`told to stop while the database hung: ended after ${shownMs(tookMs)}`)
    expect(tookMs).toBeLessThan(stopMsMax)
    await cluster.proxy(0).restore()
    await cluster.start(0)
    expect((await books.usageOf(last.requestId)).outcome).toBe('complete')
    await expectNothingHeld(books, 'started again', handBackMsMax)
    await expectMoneyHolds(books, 'started again')
  } finally {
    await books.close()
    await cluster.stop()
  }
})

/** A little more than a way there; the answer is then on its way back. */
const lostAfterMs = [1_500, 3_500, 5_500]
const wayMs = 1_000

describe('an answer of the database that is lost on its way', () => {
  let cluster: Cluster
  let books: Books

  beforeAll(async () => {
    cluster = await startPair({})
    books = await Books.open(cluster.home)
  }, timeoutMs)

  afterAll(async () => {
    await books?.close()
    await cluster?.stop()
  }, timeoutMs)

  // One account after the other is asked: the project's limit, the organization's, the credit
  test.for(lostAfterMs)(
    'after %i ms: what it granted goes back once the database can be reached',
    { timeout: timeoutMs },
    async lostMs => {
      const { url } = cluster.node(0)
      const { project: key } = cluster.keys
      expect((await callModel(url, key)).status).toBe(200)
      await expectNothingHeld(books, 'before', handBackMsMax)
      const proxy = cluster.proxy(0)
      proxy.slow(wayMs)
      const call = callModel(url, key)
      await sleep(lostMs)
      const leases = await books.query('select scope_id from leases where closed_at is null')
      await proxy.cut()
      expect(await call).toMatchObject({ status: 503, code: 'storage_unavailable' })
      await proxy.restore()
      expect(leases.length).toBeGreaterThan(0)
      const backAtMs = performance.now()
      await expectNothingHeld(books, `lost after ${lostMs} ms`, handBackMsMax)
      await expectMoneyHolds(books, `lost after ${lostMs} ms`)
      console.log(
        `answer lost after ${lostMs} ms: ${leases.length} leases, all back ${shownMs(performance.now() - backAtMs)} after`,
      )
    },
  )
})

const warmCalls = 20
const quietMs = 400
const drainCallers = 4
const drainMsMax = 15_000

describe('where a failover of the database is ridden out (auth-fresh-ms)', () => {
  let cluster: Cluster
  let books: Books

  beforeAll(async () => {
    cluster = await startPair({ 'auth-fresh-ms': '120000', 'lease-idle-ms': '5000', 'database-timeout-ms': '1000' })
    books = await Books.open(cluster.home)
  }, timeoutMs)

  afterAll(async () => {
    await books?.close()
    await cluster?.stop()
  }, timeoutMs)

  const leased = async (): Promise<bigint> => (await books.totals()).leased

  async function limitedKey(perMinute: number): Promise<string> {
    const { value, path } = await newKey(cluster)
    const limits = { max_requests_per_1_minute: perMinute }
    await cluster.admin('POST', `${path}/rate_limits/rl-m`, limits, 1)
    return value
  }

  test.for(faults.slice(0, 2))(
    '$fault: what is leased can be spent and no more, then 503; rate limits go on; all of it is charged',
    { timeout: timeoutMs },
    async ({ fault, begin }) => {
      const { url } = cluster.node(0)
      const { project: key } = cluster.keys
      // Without a Redis each of the two nodes has its half of a limit
      const limited = await limitedKey(6)
      expect((await callModel(url, limited)).status).toBe(200)
      for (let call = 0; call < warmCalls; call += 1) expect((await callModel(url, key)).status).toBe(200)
      await sleep(quietMs)
      const inHand = await leased()
      await begin(cluster.proxy(0))

      const ofLimited = await Promise.all(Array.from({ length: 4 }, () => callModel(url, limited)))
      expect(ofLimited.filter(({ status }) => status === 200)).toHaveLength(2)
      expect(ofLimited.filter(({ code }) => code === 'rate_limit_exceeded')).toHaveLength(2)
      const load = callSteadily(url, key, drainCallers)
      await expect.poll(() => statusesFrom(load.seen, 0), { timeout: drainMsMax }).toContain(503)
      await sleep(quietMs)
      await load.stop()
      const refused = load.seen.filter(({ status }) => status !== 200)
      expect(new Set(refused.map(({ status, code }) => `${status} ${code}`))).toEqual(
        new Set(['503 storage_unavailable']),
      )
      const answered = [...ofLimited, ...load.seen].filter(({ status }) => status === 200)

      const backAtMs = performance.now()
      await cluster.proxy(0).restore()
      const again = (await answeredAgain(url, key, recoveryMsMax)) - backAtMs
      const charges = await Promise.all(answered.map(({ requestId }) => books.usageOf(requestId)))
      const spent = charges.reduce((sum, { charged_nano_usd }) => sum + charged_nano_usd, 0n)
      const waits = refused.map(({ beganAtMs, endedAtMs }) => endedAtMs - beganAtMs)
      console.log(
        `database ${fault}: of ${inHand} leased nano-dollars ${spent} spent in ${answered.length} calls, then 503 ` +
          `(p99 ${shownMs(percentile(waits, 0.99))}); served again ${shownMs(again)} after it was back`,
      )
      expect(answered.length).toBeGreaterThan(2)
      expect(spent).toBeLessThanOrEqual(inHand)
      expect(charges.every(({ overrun_nano_usd }) => overrun_nano_usd === 0n)).toBe(true)
      await expectNothingHeld(books, fault, 2 * handBackMsMax)
      await expectMoneyHolds(books, fault)
    },
  )
})
