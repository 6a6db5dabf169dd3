/**
 * What limits-proof.test.ts shows of the counters, of whole servers over HTTP: a key is admitted no more often than its limit says,
 * under far more load than it allows, most of it on one node, while the Redis that the nodes share is killed and comes back
 * with nothing. Prints what share of the limit was given out.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type FakeUpstream, startFakeUpstream } from '../src/providers/fake/upstream.ts'
import { startCluster } from './support/cluster.ts'
import { modelIsThere, newLimitedKey, prepareMoney } from './support/limited-keys.ts'
import { startRedis, type TestRedis } from './support/redis.ts'
import { callSteadily } from './support/steady-calls.ts'
import { has } from './support/system.ts'

const perMinute = 60
/** By node; a caller asks many times a second. */
const callers = [7, 1, 1, 1]
const beforeMs = 2_000
const awayMs = 2_500
const afterMs = 3_000
const timeoutMs = 60_000

describe.runIf(has('redis'))('the limit of a key, on whole servers', () => {
  let upstream: FakeUpstream
  let redis: TestRedis

  beforeAll(async () => {
    upstream = await startFakeUpstream({ recordsMax: 0, behaviour: () => ({ outputTokens: 1 }) })
    redis = await startRedis()
  })

  afterAll(async () => {
    await redis?.stop()
    await upstream?.stop()
  })

  test.for([1, 2, 4])('holds on %i nodes, with Redis killed and back', { timeout: timeoutMs }, async nodes => {
    const cluster = await startCluster({
      nodes,
      settings: { 'first-credit-usd': '100' },
      env: { REDIS_URL: redis.url },
    })
    try {
      const { admin: adminKey, project: projectKey } = cluster.keys
      await prepareMoney({ url: cluster.node(0).url, adminKey, projectKey }, upstream.url)
      for (const { url } of cluster.nodes) await modelIsThere(url, projectKey)
      const { value: key } = await newLimitedKey(cluster, { max_requests_per_1_minute: perMinute })
      const beganAtMs = performance.now()
      const loads = cluster.nodes.map(({ url }, index) => callSteadily(url, key, callers[index] ?? 1))
      await sleep(beforeMs)
      await redis.kill()
      await sleep(awayMs)
      await redis.start()
      await sleep(afterMs)
      await Promise.all(loads.map(load => load.stop()))
      const limit = perMinute * (1 + (performance.now() - beganAtMs) / 60_000)
      const seen = loads.flatMap(load => load.seen)
      const admitted = seen.filter(({ status }) => status === 200).length
      console.log(
        `${nodes} servers, Redis killed for ${awayMs} ms: ${admitted} of ${seen.length} calls admitted where the limit gives ` +
          `${limit.toFixed(1)} (${(admitted / limit).toFixed(3)})`,
      )
      expect(new Set(seen.map(({ status, code }) => `${status} ${code}`))).toEqual(
        new Set(['200 null', '429 rate_limit_exceeded']),
      )
      expect(admitted).toBeLessThanOrEqual(Math.ceil(limit))
      // All that a full bucket has, which was there before Redis went away
      expect(admitted).toBeGreaterThanOrEqual(perMinute)
      expect(seen.length).toBeGreaterThan(5 * limit)
    } finally {
      await cluster.stop()
    }
  })
})
