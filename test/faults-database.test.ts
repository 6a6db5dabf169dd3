/**
 * The row "PostgreSQL" of the table of faults, with a proxy between a node and its database that cuts, hangs, or is slow:
 * who is served, what becomes of running streams, and that all of it comes back by itself. What can be spent meanwhile is in
 * faults-money.test.ts, the row "NOTIFY only" in revocation-cluster.test.ts; the database that is killed and the full disk are in
 * failures.test.ts.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type FakeUpstream, startFakeUpstream } from '../src/providers/fake/upstream.ts'
import { Books } from './support/books.ts'
import type { Cluster } from './support/cluster.ts'
import { behaviourOf, faults, newKey, startPair } from './support/fault-pair.ts'
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
const beforeMs = 300
const recoveryMsMax = 15_000
const handBackMsMax = 10_000
const readyMsMax = 7_000

let upstream: FakeUpstream

beforeAll(async () => {
  upstream = await startFakeUpstream({ recordsMax: 0, behaviour: behaviourOf })
})

afterAll(() => upstream.stop())

const health = async (url: string, path: string): Promise<number> => {
  const response = await fetch(`${url}/health/${path}`, { signal: AbortSignal.timeout(readyMsMax) })
  await response.arrayBuffer()
  return response.status
}

describe('while a node cannot reach its database', () => {
  let cluster: Cluster
  let books: Books

  beforeAll(async () => {
    cluster = await startPair(upstream.url, { 'database-timeout-ms': String(databaseTimeoutMs) })
    books = await Books.open(cluster.home)
  }, timeoutMs)

  afterEach(() => cluster.proxy(0).restore())

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

/** Drained of calls it must end in good time, or whoever stops it kills it: usually after 30 s, 20 of which may be the drain. */
const stopMsMax = 12_000

test('a node that is told to stop while its database hangs stops, and what was used meanwhile is charged after the next start', {
  timeout: timeoutMs,
}, async () => {
  const cluster = await startPair(upstream.url, {})
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
