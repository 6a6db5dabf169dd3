/**
 * What is given out of a limit is never more than the limit, under ten times the load that it allows, most of it on one node,
 * on one, two and four nodes, with Redis cut and back, for all nodes and for some. Prints what share of the limit was given
 * out: what is missing to 1 is the price of never being above it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Limit } from '#storage/counters.ts'
import { countersClock } from '#storage/open-counters.ts'
import { type SharedCounters, sharedCounters } from '#storage/shared-counters.ts'
import { FaultProxy } from './support/fault-proxy.ts'
import { startRedis, type TestRedis } from './support/redis.ts'
import { has } from './support/system.ts'
import { noTrouble } from './support/trouble.ts'

const periodMs = 1_000
const perPeriod = 300
const overload = 10
const tickMs = 10
/** Of the offered calls, by node; on fewer nodes the first has what is left. */
const skew = [0.7, 0.1, 0.1, 0.1]
/** Times are of two clocks of one machine: Redis's, and the node's, which is set once. */
const clocksMs = 5

type TestNode = { readonly counters: SharedCounters; readonly proxy: FaultProxy; readonly share: number }
/** When, by the clock that decided. */
type Admitted = number[]

/** How much was given out, as a part of what a bucket gives: since the beginning, and since any moment at all. */
function ratios(admitted: Admitted, fromMs: number, tillMs: number): { whole: number; worst: number } {
  const rate = perPeriod / periodMs
  let [used, at, worst] = [0, fromMs, 0]
  for (const time of admitted.sort((a, b) => a - b)) {
    used = Math.max(0, used - (time - at) * rate) + 1
    at = time
    worst = Math.max(worst, (used - clocksMs * rate) / perPeriod)
  }
  return { whole: admitted.length / (perPeriod + (tillMs - fromMs) * rate), worst }
}

describe.runIf(has('redis'))('limits', () => {
  let redis: TestRedis
  let names = 0
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis?.stop())

  async function startNodes(count: number): Promise<TestNode[]> {
    const now = countersClock()
    const target = { host: '127.0.0.1', port: Number(new URL(redis.url).port) }
    const shares = skew.slice(0, count)
    shares[0] = 1 - shares.slice(1).reduce((sum, share) => sum + share, 0)
    return Promise.all(
      shares.map(async (share, rank) => {
        const proxy = await FaultProxy.open({ target })
        const redisUrl = `redis://127.0.0.1:${proxy.port}`
        const options = { redisUrl, nodes: () => ({ count, rank }), now, away: noTrouble }
        return { counters: await sharedCounters(options), proxy, share }
      }),
    )
  }

  async function stopNodes(nodes: readonly TestNode[]): Promise<void> {
    await Promise.all(nodes.map(({ counters }) => counters.close()))
    await Promise.all(nodes.map(({ proxy }) => proxy.close()))
  }

  /** Offers calls until the plan has run to its end. @returns when each that was admitted was */
  async function offer(nodes: readonly TestNode[], plan: () => Promise<void>) {
    const limit: Limit = { counter: `proof ${++names}`, limit: perPeriod, periodMs }
    const admitted: Admitted = []
    const asked = new Set<Promise<void>>()
    const ask = async ({ counters }: TestNode): Promise<void> => {
      const outcome = await counters.take([limit], [1])
      if (outcome.fits) admitted.push(outcome.atMs)
    }
    let running = true
    const begun = performance.now()
    const fromMs = countersClock()()
    const load = (async () => {
      const offered = nodes.map(() => 0)
      while (running) {
        await sleep(tickMs)
        const due = ((performance.now() - begun) / periodMs) * perPeriod * overload
        for (const [index, node] of nodes.entries()) {
          for (; (offered[index] ?? 0) < due * node.share; offered[index] = (offered[index] ?? 0) + 1) {
            const call = ask(node).finally(() => asked.delete(call))
            asked.add(call)
          }
        }
      }
    })()
    await plan()
    running = false
    await load
    await Promise.all(asked)
    return { ...ratios(admitted, fromMs, countersClock()()), admitted: admitted.length }
  }

  function expectHeld(what: string, { whole, worst, admitted }: Awaited<ReturnType<typeof offer>>): void {
    const shortfall = `${((1 - whole) * 100).toFixed(1)} %`
    console.log(
      `${what}: admitted ÷ limit ${whole.toFixed(4)} (${admitted} calls), shortfall ${shortfall}, fullest bucket ${worst.toFixed(4)}`,
    )
    expect(whole).toBeLessThanOrEqual(1)
    expect(worst).toBeLessThanOrEqual(1)
  }

  const each = (nodes: readonly TestNode[], act: (proxy: FaultProxy) => Promise<void> | void): Promise<unknown> =>
    Promise.all(nodes.map(({ proxy }) => act(proxy)))

  test.for([1, 2, 4])('hold on %i nodes', { timeout: 30_000 }, async count => {
    const nodes = await startNodes(count)
    try {
      const seen = await offer(nodes, () => sleep(2_500))
      expectHeld(`${count} nodes, Redis there`, seen)
      expect(seen.whole).toBeGreaterThan(0.5)
    } finally {
      await stopNodes(nodes)
    }
  })

  test.for([1, 2, 4])('hold on %i nodes while Redis is cut and comes back', { timeout: 30_000 }, async count => {
    const nodes = await startNodes(count)
    try {
      const seen = await offer(nodes, async () => {
        await sleep(1_500)
        await each(nodes, proxy => proxy.cut())
        await sleep(4_000)
        await each(nodes, proxy => proxy.restore())
        await sleep(3_000)
      })
      expectHeld(`${count} nodes, Redis cut for 4 s`, seen)
      expect(seen.whole).toBeGreaterThan(0.3)
    } finally {
      await stopNodes(nodes)
    }
  })

  test('hold on 4 nodes when the busiest is cut off alone', { timeout: 30_000 }, async () => {
    const nodes = await startNodes(4)
    try {
      const seen = await offer(nodes, async () => {
        await sleep(1_500)
        await nodes[0]?.proxy.cut()
        await sleep(4_000)
        await nodes[0]?.proxy.restore()
        await sleep(2_500)
      })
      expectHeld('4 nodes, the busiest cut off for 4 s', seen)
    } finally {
      await stopNodes(nodes)
    }
  })

  test('hold on 4 nodes when Redis is killed and comes back with nothing', { timeout: 30_000 }, async () => {
    const nodes = await startNodes(4)
    try {
      const seen = await offer(nodes, async () => {
        await sleep(1_500)
        await redis.kill()
        await redis.start()
        await sleep(3_000)
        await redis.kill()
        await sleep(3_000)
        await redis.start()
        await sleep(2_500)
      })
      expectHeld('4 nodes, Redis killed twice and empty each time', seen)
    } finally {
      await stopNodes(nodes)
    }
  })

  test('hold whatever happens to whichever node', { timeout: 60_000 }, async () => {
    const fault = fc.record({
      node: fc.nat(2),
      kind: fc.constantFrom('cut' as const, 'hang' as const, 'slow' as const, 'restore' as const),
      forMs: fc.integer({ min: 50, max: 1_200 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(fault, { minLength: 6, maxLength: 10 }), async faults => {
        const nodes = await startNodes(3)
        try {
          const seen = await offer(nodes, async () => {
            for (const { node, kind, forMs } of faults) {
              const proxy = nodes[node]?.proxy
              if (kind === 'slow') proxy?.slow(60)
              else if (proxy) await proxy[kind]()
              await sleep(forMs)
            }
            await each(nodes, proxy => proxy.restore())
            await sleep(1_500)
          })
          expectHeld(`3 nodes, ${faults.map(({ node, kind }) => `${kind} ${node}`).join(', ')}`, seen)
        } finally {
          await stopNodes(nodes)
        }
      }),
      { numRuns: 3, endOnFailure: true },
    )
  })
})
