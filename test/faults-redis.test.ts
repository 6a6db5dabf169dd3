/**
 * The row "Redis" of the table of faults: a proxy between each of two nodes and the Redis in which they share rate limits cuts,
 * hangs, or is slow. Each node then gives out its share, both together never more than the limit, no call waits, and they share
 * again when Redis is back. And the row "node killed": the slots of its calls return by time. limits-proof.test.ts has more of this,
 * on the counters alone.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type FakeUpstream, startFakeUpstream } from '../src/providers/fake/upstream.ts'
import { deadlineMs } from '../src/storage/redis-link.ts'
import { retryMs } from '../src/storage/shared-counters.ts'
import { type Cluster, startCluster } from './support/cluster.ts'
import { FaultProxy } from './support/fault-proxy.ts'
import { modelIsThere, newLimitedKey, prepareMoney } from './support/limited-keys.ts'
import { startRedis, type TestRedis } from './support/redis.ts'
import { type Answered, callModel, callSteadily, percentile, postChat, shownMs } from './support/steady-calls.ts'
import { has } from './support/system.ts'

const timeoutMs = 90_000
const nodes = 2
const perMinute = 120
const callers = 3
const slowMs = 2_000
/** For so long others count a node in that says nothing. */
const memberMs = 1_000
const beforeMs = 1_000
const awayMs = 5_000
const afterMs = 2_000
/** Two nodes, a database and the load on two cores. */
const schedulingMs = 500
/** A try to join that began before Redis was back has to fail first. */
const joinAgainMsMax = 2 * retryMs + memberMs + slowMs
const joinMsMax = 10_000
/** A slot that its node does not renew is free again after thirty seconds. */
const slotMs = 30_000
const slots = 2
const longTokens = 2_000

const faults: readonly { readonly fault: string; begin(proxy: FaultProxy): Promise<void> | void }[] = [
  { fault: 'cut', begin: proxy => proxy.cut() },
  { fault: 'hung', begin: proxy => proxy.hang() },
  { fault: `slow by ${slowMs} ms`, begin: proxy => proxy.slow(slowMs) },
]

describe.runIf(has('redis'))('two nodes that share a Redis', () => {
  let upstream: FakeUpstream
  let redis: TestRedis
  let client: Redis
  let proxies: readonly FaultProxy[]
  let cluster: Cluster

  beforeAll(async () => {
    upstream = await startFakeUpstream({
      recordsMax: 0,
      behaviour: ({ body }) =>
        body.user === 'long' ? { outputTokens: longTokens, chunkIntervalMs: 50 } : { outputTokens: 5 },
    })
    redis = await startRedis()
    client = new Redis(redis.url)
    const target = { host: '127.0.0.1', port: Number(new URL(redis.url).port) }
    proxies = await Promise.all(Array.from({ length: nodes }, () => FaultProxy.open({ target })))
    cluster = await startCluster({
      nodes,
      settings: { 'first-credit-usd': '100' },
      envOf: index => ({ REDIS_URL: `redis://127.0.0.1:${proxies[index]?.port}` }),
    })
    const { admin: adminKey, project: projectKey } = cluster.keys
    await prepareMoney({ url: cluster.node(0).url, adminKey, projectKey }, upstream.url)
    for (const { url } of cluster.nodes) await modelIsThere(url, projectKey)
  }, timeoutMs)

  afterAll(async () => {
    await Promise.all((proxies ?? []).map(proxy => proxy.restore()))
    await cluster?.stop()
    await Promise.all((proxies ?? []).map(proxy => proxy.close()))
    client?.disconnect()
    await redis?.stop()
    await upstream?.stop()
  }, timeoutMs)

  /** Those that Redis counts in now. */
  async function members(): Promise<number> {
    const [set] = await client.keys('{keyhouse-limits}:nodes:*')
    if (set === undefined) return 0
    const sinceMs = Date.UTC(2026, 0)
    return client.zcount(set, Date.now() - sinceMs, '+inf')
  }

  /** Load on both nodes with one key, while the fault comes to some of them and goes. */
  async function underFault(key: string, begin: () => Promise<unknown>, restore: () => Promise<unknown>) {
    const loads = cluster.nodes.map(({ url }) => callSteadily(url, key, callers))
    const beganAtMs = performance.now()
    await sleep(beforeMs)
    await begin()
    const awayAtMs = performance.now()
    await sleep(awayMs)
    const backAtMs = performance.now()
    await restore()
    await expect.poll(members, { timeout: joinMsMax, interval: 20 }).toBe(nodes)
    const joinedAfterMs = performance.now() - backAtMs
    await sleep(afterMs)
    await Promise.all(loads.map(load => load.stop()))
    const endedAtMs = performance.now()
    const fits = perMinute + ((endedAtMs - beganAtMs) / 60_000) * perMinute
    return { seen: loads.map(({ seen }) => seen), awayAtMs, backAtMs, joinedAfterMs, fits }
  }

  type Seen = Awaited<ReturnType<typeof underFault>>

  function expectHeld(what: string, { seen, awayAtMs, backAtMs, joinedAfterMs, fits }: Seen): void {
    const all = seen.flat()
    const admitted = (calls: readonly Answered[]): number => calls.filter(({ status }) => status === 200).length
    const alone = seen.map(calls =>
      admitted(calls.filter(({ beganAtMs }) => beganAtMs > awayAtMs + memberMs && beganAtMs < backAtMs)),
    )
    const waits = all
      .filter(({ beganAtMs }) => beganAtMs >= awayAtMs && beganAtMs < backAtMs)
      .map(({ beganAtMs, endedAtMs }) => endedAtMs - beganAtMs)
    console.log(
      `Redis ${what}: ${admitted(all)} of ${all.length} calls admitted where the limit gives ${fits.toFixed(1)} ` +
        `(${(admitted(all) / fits).toFixed(3)}); alone ${alone.join(' and ')}; calls took p99 ` +
        `${shownMs(percentile(waits, 0.99))}, at most ${shownMs(Math.max(...waits))}; joined again ${shownMs(joinedAfterMs)} after`,
    )
    expect(new Set(all.map(({ status, code }) => `${status} ${code}`))).toEqual(
      new Set(['200 null', '429 rate_limit_exceeded']),
    )
    expect(admitted(all)).toBeLessThanOrEqual(Math.ceil(fits))
    expect(Math.min(...alone)).toBeGreaterThan(0)
    expect(percentile(waits, 0.99)).toBeLessThan(deadlineMs + schedulingMs)
    expect(joinedAfterMs).toBeLessThan(joinAgainMsMax)
  }

  test.for(faults)(
    '$fault: each node gives out its share, both never more than the limit, nobody waits for more than a moment, and they share again',
    { timeout: timeoutMs },
    async ({ fault, begin }) => {
      const { value: key } = await newLimitedKey(cluster, { max_requests_per_1_minute: perMinute })
      const seen = await underFault(
        key,
        () => Promise.all(proxies.map(begin)),
        () => Promise.all(proxies.map(proxy => proxy.restore())),
      )
      expectHeld(fault, seen)
    },
  )

  test(
    'cut off from one node alone: the other one goes on, both never more than the limit',
    async () => {
      const { value: key } = await newLimitedKey(cluster, { max_requests_per_1_minute: perMinute })
      const seen = await underFault(
        key,
        async () => proxies[0]?.cut(),
        async () => proxies[0]?.restore(),
      )
      expectHeld('cut off from one of two nodes', seen)
    },
    timeoutMs,
  )

  test(
    'a node that is killed: the slots of its calls return by time, and no sooner',
    async () => {
      const { value: key } = await newLimitedKey(cluster, { max_concurrent_requests: slots })
      const dying = cluster.node(0).url
      const { url } = cluster.node(1)
      const body = { user: 'long', stream: true, max_tokens: longTokens }
      const streams = await Promise.all(Array.from({ length: slots }, () => postChat(dying, key, body)))
      expect(streams.map(({ status }) => status)).toEqual([200, 200])
      expect((await callModel(url, key)).code).toBe('rate_limit_exceeded')
      const killedAtMs = performance.now()
      await cluster.node(0).kill()
      await expect
        .poll(async () => (await callModel(url, key)).status, { timeout: 2 * slotMs, interval: 100 })
        .toBe(200)
      const tookMs = performance.now() - killedAtMs
      console.log(`node killed with ${slots} calls in flight: their slots were free again after ${shownMs(tookMs)}`)
      expect(tookMs).toBeLessThan(slotMs + 2 * schedulingMs)
      await cluster.start(0)
    },
    timeoutMs,
  )
})
