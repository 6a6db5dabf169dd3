/**
 * What can be spent while a node cannot reach its database, and what becomes of what it had reserved: the money column of the rows
 * "PostgreSQL" and "NOTIFY only" of the table of faults.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type FakeUpstream, startFakeUpstream } from '../src/providers/fake/upstream.ts'
import { Books, type UsageRow } from './support/books.ts'
import { type Cluster, startCluster } from './support/cluster.ts'
import { behaviourOf, faults, newKey, startPair } from './support/fault-pair.ts'
import { modelIsThere } from './support/limited-keys.ts'
import { expectMoneyHolds, expectNothingHeld } from './support/money-rules.ts'
import { answeredAgain, callModel, callSteadily, percentile, shownMs, statusesFrom } from './support/steady-calls.ts'

const timeoutMs = 90_000
const schedulingMs = 700
const recoveryMsMax = 15_000
const handBackMsMax = 10_000

let upstream: FakeUpstream

beforeAll(async () => {
  upstream = await startFakeUpstream({ recordsMax: 0, behaviour: behaviourOf })
})

afterAll(() => upstream.stop())

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

/** A little more than a way there; the answer is then on its way back. */
const lostAfterMs = [1_500, 3_500, 5_500]
const wayMs = 1_000

describe('an answer of the database that is lost on its way', () => {
  let cluster: Cluster
  let books: Books

  beforeAll(async () => {
    cluster = await startPair(upstream.url, {})
    books = await Books.open(cluster.home)
  }, timeoutMs)

  afterEach(() => cluster.proxy(0).restore())

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
    cluster = await startPair(upstream.url, {
      'auth-fresh-ms': '120000',
      'lease-idle-ms': '5000',
      'database-timeout-ms': '1000',
    })
    books = await Books.open(cluster.home)
  }, timeoutMs)

  afterEach(() => cluster.proxy(0).restore())

  afterAll(async () => {
    await books?.close()
    await cluster?.stop()
  }, timeoutMs)

  const leased = async (): Promise<bigint> => (await books.totals()).leased

  test.for(faults.slice(0, 2))(
    '$fault: what is leased can be spent and no more, then 503; rate limits go on; all of it is charged',
    { timeout: timeoutMs },
    async ({ fault, begin }) => {
      const { url } = cluster.node(0)
      const { project: key } = cluster.keys
      // Without a Redis each of the two nodes has its half of a limit
      const { value: limited } = await newKey(cluster, { max_requests_per_1_minute: 6 })
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
      const charges: UsageRow[] = []
      for (const { requestId } of answered) charges.push(await books.usageOf(requestId))
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
