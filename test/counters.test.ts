/** One contract for rate-limit counters, and everything that keeps it: memory, Redis, and a node whose Redis is away. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { standing } from '#core/gcra.ts'
import { type Counters, type Limit, memoryCounters, type Outcome, type Taken } from '#storage/counters.ts'
import { countersClock } from '#storage/open-counters.ts'
import { deadlineMs } from '#storage/redis-link.ts'
import { type Nodes, retryMs, type SharedCounters, sharedCounters, shareOf } from '#storage/shared-counters.ts'
import { FaultProxy } from './support/fault-proxy.ts'
import { startRedis, type TestRedis } from './support/redis.ts'
import { has } from './support/system.ts'
import { noTrouble, troubleInto } from './support/trouble.ts'

const minute = 60_000
const day = 86_400_000
let names = 0
const fresh = (limit: number, periodMs = minute): Limit => ({ counter: `counter ${++names}`, limit, periodMs })

async function taken(counters: Counters, limits: readonly Limit[], costs: readonly number[]): Promise<Taken> {
  const outcome = await counters.take(limits, costs)
  if (!outcome.fits) throw new Error(`it did not fit: ${JSON.stringify(outcome)}`)
  return outcome
}
const remainingOf = ({ levels, atMs }: Outcome, limit: Limit, index = 0): number =>
  standing(levels[index] ?? 0, limit, atMs).remaining
const look = async (counters: Counters, limit: Limit): Promise<number> =>
  remainingOf(await counters.take([limit], [0]), limit)
/** How many of so many calls at once are admitted. */
async function admittedOf(counters: Counters, calls: number, limit: Limit): Promise<number> {
  const outcomes = await Promise.all(Array.from({ length: calls }, () => counters.take([limit], [1])))
  return outcomes.filter(({ fits }) => fits).length
}
const correctionsSentMs = 60
/** Both nodes have heard that Redis was emptied. */
const emptiedMs = 600

function contract(open: () => Counters): void {
  test('the limit fits at once, and one more is told how long to wait', async () => {
    const three = fresh(3)
    for (let count = 1; count <= 3; count += 1) {
      expect(remainingOf(await taken(open(), [three], [1]), three)).toBe(3 - count)
    }
    const refused = await open().take([three], [1])
    expect(refused).toMatchObject({ fits: false, index: 0 })
    if (refused.fits) return
    expect(refused.waitMs).toBeGreaterThan(19_000)
    expect(refused.waitMs).toBeLessThanOrEqual(20_000)
    expect(remainingOf(refused, three)).toBe(0)
  })

  test('of many at once exactly the limit is admitted', async () => {
    expect(await admittedOf(open(), 60, fresh(20, day))).toBe(20)
  })

  test('all or none: a refused call consumes nothing', async () => {
    const [wide, narrow, slots] = [fresh(100), fresh(1), fresh(5, 0)]
    await taken(open(), [wide, narrow, slots], [10, 1, 1])
    expect(await open().take([wide, narrow, slots], [10, 1, 1])).toMatchObject({ fits: false, index: 1 })
    expect(await look(open(), wide)).toBe(90)
    expect((await open().take([slots], [0])).levels).toEqual([1])
  })

  test('the longest wait is the one that is told', async () => {
    const [short, long] = [fresh(60), fresh(2, day)]
    await taken(open(), [short, long], [60, 2])
    const refused = await open().take([short, long], [1, 1])
    expect(refused).toMatchObject({ fits: false, index: 1 })
    expect(await open().take([short, long, fresh(10)], [1, 1, 11])).toMatchObject({
      index: 2,
      waitMs: Number.POSITIVE_INFINITY,
    })
  })

  test('what costs nothing is not asked', async () => {
    const full = fresh(1)
    await taken(open(), [full], [1])
    expect((await open().take([full, fresh(1)], [0, 1])).fits).toBe(true)
  })

  test('what was not used comes back, and what was used beyond is owed', async () => {
    const hundred = fresh(100)
    const call = await taken(open(), [hundred], [60])
    open().adjust(hundred, -50, call)
    await sleep(correctionsSentMs)
    expect(await look(open(), hundred)).toBe(90)
    open().adjust(hundred, 190, call)
    await sleep(correctionsSentMs)
    const refused = await open().take([hundred], [1])
    expect(refused.fits || refused.waitMs).toBeGreaterThan(minute)
  })

  test('as many as the slots hold at one time, and a slot that is given back twice is one slot', async () => {
    const two = fresh(2, 0)
    const [first, second] = [await taken(open(), [two], [1]), await taken(open(), [two], [1])]
    expect(await open().take([two], [1])).toMatchObject({ fits: false, waitMs: 1_000, levels: [2] })
    open().free(two, first)
    open().free(two, first)
    await sleep(correctionsSentMs)
    await taken(open(), [two], [1])
    expect((await open().take([two], [1])).fits).toBe(false)
    open().free(two, second)
  })
}

describe('in memory', () => {
  const counters = memoryCounters(countersClock())
  contract(() => counters)
})

test.for([1, 2, 3, 4, 7])('the shares of %i nodes are the limit, to the last one', count => {
  for (const limit of [1, 2, 3, 10, 1_001]) {
    const shares = Array.from({ length: count }, (_, rank) => shareOf(limit, { count, rank }))
    expect(shares.reduce((sum, share) => sum + share)).toBe(limit)
  }
})

describe.runIf(has('redis'))('with Redis', () => {
  let redis: TestRedis
  const opened: SharedCounters[] = []
  const errors: string[] = []

  const pair = [
    { count: 2, rank: 0 },
    { count: 2, rank: 1 },
  ] as const

  async function node(
    nodes: Nodes = { count: 1, rank: 0 },
    slotMs = 30_000,
    redisUrl = redis.url,
  ): Promise<SharedCounters> {
    const counters = await sharedCounters({
      redisUrl,
      nodes: () => nodes,
      now: countersClock(),
      away: troubleInto(errors),
      slotMs,
    })
    opened.push(counters)
    return counters
  }
  async function ask<Answer>(question: (client: Redis) => Promise<Answer>): Promise<Answer> {
    const client = new Redis(redis.url)
    return question(client).finally(() => client.disconnect())
  }
  const isIn = (counters: SharedCounters, mode: SharedCounters['mode'], timeout = 5_000) =>
    expect.poll(() => counters.mode, { timeout, interval: 20 }).toBe(mode)

  beforeAll(async () => {
    redis = await startRedis()
  })
  afterEach(async () => {
    await Promise.all(opened.splice(0).map(counters => counters.close()))
    errors.length = 0
  })
  afterAll(() => redis?.stop())

  describe('one node', () => {
    let counters: SharedCounters
    beforeAll(async () => {
      counters = await node()
      // Kept for all tests of the contract
      opened.length = 0
    })
    afterAll(() => counters.close())
    contract(() => counters)
  })

  describe('one node whose Redis was never there', () => {
    let counters: SharedCounters
    let hasBegun = false
    beforeAll(async () => {
      const clock = countersClock()
      counters = await sharedCounters({
        redisUrl: 'redis://127.0.0.1:1',
        nodes: () => ({ count: 1, rank: 0 }),
        // Days after it began, when its empty buckets are full
        now: () => clock() + (hasBegun ? 2 * day : 0),
        away: noTrouble,
      })
      hasBegun = true
    })
    afterAll(() => counters.close())
    contract(() => counters)
  })

  test('two nodes share one limit exactly', async () => {
    const [one, two] = [await node(pair[0]), await node(pair[1])]
    const limit = fresh(50, day)
    const admitted = await Promise.all([admittedOf(one, 100, limit), admittedOf(two, 100, limit)])
    expect(admitted[0] + admitted[1]).toBe(50)
  })

  test('a call is one round trip, whatever it is counted in, and its corrections travel with the next', async () => {
    const counters = await node()
    const limits = [fresh(1_000), fresh(1_000, day), fresh(10_000), fresh(100, 0)]
    const before = counters.trips
    let last = await taken(counters, limits, [1, 1, 10, 1])
    const startedAt = performance.now()
    for (let call = 1; call < 200; call += 1) {
      counters.adjust(limits[2] ?? fresh(1), -5, last)
      counters.free(limits[3] ?? fresh(1), last)
      last = await taken(counters, limits, [1, 1, 10, 1])
    }
    const renewals = 1 + (performance.now() - startedAt) / 250
    // And a few for corrections that no call came for within milliseconds, on a machine that is busy
    expect(counters.trips - before - 200).toBeLessThanOrEqual(renewals + 20)
    expect((await counters.take(limits, [0, 0, 0, 0])).levels[3]).toBe(1)
  })

  test('scripts that Redis forgot are loaded again', async () => {
    const counters = await node()
    await ask(client => client.script('FLUSH'))
    expect((await counters.take([fresh(1)], [1])).fits).toBe(true)
  })

  test('a slot of a living node stays its own, and that of a dead one returns by time', async () => {
    const [holder, other] = [await node(pair[0], 600), await node(pair[1], 600)]
    const slots = fresh(2, 0)
    await taken(holder, [slots], [1])
    await taken(holder, [slots], [1])
    for (let look = 0; look < 12; look += 1) {
      expect((await other.take([slots], [1])).fits).toBe(false)
      await sleep(100)
    }
    await holder.close()
    await expect.poll(async () => (await other.take([slots], [1])).fits, { timeout: 2_000 }).toBe(true)
  })

  test('a node that is alone gives out its share and no more, and both together at most the limit', async () => {
    const limit = fresh(100, day)
    const [one, two] = [await node(pair[0]), await node(pair[1])]
    await admittedOf(one, 1, limit)
    await redis.kill()
    await Promise.all([isIn(one, 'alone'), isIn(two, 'alone')])
    // Nobody knows what the other took before the cut, so nothing is there at once
    expect(await admittedOf(one, 10, limit)).toBe(0)
    expect(errors).toHaveLength(2)
    await redis.start()
    await Promise.all([isIn(one, 'redis'), isIn(two, 'redis')])
    // An empty Redis has from the nodes what they had seen in it
    await expect.poll(async () => admittedOf(one, 100, limit)).toBeGreaterThan(0)
    expect(await look(two, limit)).toBe(0)
  })

  test('a Redis that is out of memory is as good as away, is said so, and is joined again when it has room', async () => {
    const limit = fresh(100)
    const one = await node()
    await isIn(one, 'redis')
    await ask(client => client.config('SET', 'maxmemory', '1'))
    await one.take([limit], [1])
    expect(one.mode).toBe('alone')
    expect(errors).toEqual([expect.stringContaining('OOM')])
    await ask(client => client.config('SET', 'maxmemory', '0'))
    await isIn(one, 'redis')
    expect((await one.take([limit], [1])).fits).toBe(true)
  })

  test('after a cut, what was not given out is there at once, and no more', async () => {
    const proxy = await FaultProxy.open({ target: { host: '127.0.0.1', port: Number(new URL(redis.url).port) } })
    const throughProxy = `redis://127.0.0.1:${proxy.port}`
    const [one, two] = [await node(pair[0], undefined, throughProxy), await node(pair[1], undefined, throughProxy)]
    const [minutely, daily] = [fresh(600), fresh(1_000, day)]
    const limits = [minutely, daily]
    const beganAtMs = performance.now()
    await taken(two, limits, [100, 400])
    await proxy.cut()
    await Promise.all([isIn(one, 'alone'), isIn(two, 'alone')])
    // Of its share of the day a node has something after some minutes, of that of the minute at once
    const alone = async (counters: Counters): Promise<number> => {
      await expect.poll(async () => (await counters.take([minutely], [4])).fits, { timeout: 5_000 }).toBe(true)
      return admittedOf(counters, 300, minutely)
    }
    const given = 8 + (await alone(one)) + (await alone(two))
    await proxy.restore()
    await Promise.all([isIn(one, 'redis'), isIn(two, 'redis')])
    const refilled = Math.ceil(((performance.now() - beganAtMs) * 600) / minute) + 1
    const rest = await look(one, minutely)
    expect(rest).toBeGreaterThanOrEqual(500 - given)
    expect(rest).toBeLessThanOrEqual(500 - given + refilled)
    expect(await look(two, daily)).toBe(600)
    await proxy.close()
  })

  test('Redis that lost its memory gives out no fresh minute', async () => {
    const limit = fresh(40, day)
    const [one, two] = [await node(pair[0]), await node(pair[1])]
    expect(await admittedOf(one, 30, limit)).toBe(30)
    await redis.kill()
    await redis.start()
    await Promise.all([isIn(one, 'alone'), isIn(two, 'alone')])
    await Promise.all([isIn(one, 'redis'), isIn(two, 'redis')])
    const rest = (await admittedOf(two, 40, limit)) + (await admittedOf(one, 40, limit))
    expect(rest).toBeLessThanOrEqual(10)
    expect(rest).toBeGreaterThanOrEqual(9)
  })

  test('Redis that was emptied gives out no fresh minute, and nobody has to leave it', async () => {
    const limit = fresh(40, day)
    const [one, two] = [await node(pair[0]), await node(pair[1])]
    expect(await admittedOf(one, 20, limit)).toBe(20)
    expect(await admittedOf(two, 10, limit)).toBe(10)
    await ask(client => client.flushall())
    const until = performance.now() + emptiedMs
    let rest = 0
    while (performance.now() < until) rest += (await admittedOf(one, 10, limit)) + (await admittedOf(two, 10, limit))
    expect(rest).toBe(10)
    expect(errors).toEqual([])
  })

  test('of two nodes one stops, and the other has its own share until it hears that it is alone, then all', async () => {
    const cluster = { count: 2, rank: 0 }
    const [one, two] = [await node(cluster), await node(pair[1])]
    await two.close()
    expect(await admittedOf(one, 120, fresh(100))).toBe(50)
    cluster.count = 1
    expect(await admittedOf(one, 120, fresh(100))).toBe(100)
  })

  test('while one of two nodes has not come back, the other has its own share and no more', async () => {
    await redis.kill()
    await redis.start()
    const one = await node(pair[0])
    const limit = fresh(100)
    // Redis is new to the only node that is there, so its minute begins empty
    const before = await admittedOf(one, 100, limit)
    await sleep(2_000)
    const after = await admittedOf(one, 100, limit)
    expect(before + after).toBeLessThanOrEqual(Math.ceil((50 * 3_000) / minute) + 50)
    expect(after).toBeGreaterThan(0)
  })

  test('a node that was busy for longer than an answer may take does not count that against Redis', async () => {
    const counters = await node()
    const limit = fresh(600_000)
    const outcomes = Promise.all(Array.from({ length: 5 }, () => counters.take([limit], [1])))
    const busyTillMs = performance.now() + deadlineMs * 3
    while (performance.now() < busyTillMs);
    expect((await outcomes).map(({ fits }) => fits)).toEqual([true, true, true, true, true])
    expect(counters.mode).toBe('redis')
  })

  test('a Redis that stands still is left after three late answers, tried each second, and joined again', async () => {
    const counters = await node()
    const limit = fresh(600_000)
    expect((await counters.take([limit], [1])).fits).toBe(true)
    await ask(client => client.call('CLIENT', 'PAUSE', '3000', 'ALL'))
    const startedAt = performance.now()
    // Until the others count this node in no longer: then from its own share
    expect((await counters.take([limit], [1])).fits).toBe(true)
    expect(counters.mode).toBe('alone')
    expect(performance.now() - startedAt).toBeLessThan(2_000)
    const asked = performance.now()
    expect((await counters.take([limit], [1])).fits).toBe(true)
    expect(performance.now() - asked).toBeLessThan(100)
    await isIn(counters, 'redis', retryMs * 6)
    await expect.poll(async () => (await counters.take([limit], [1])).fits).toBe(true)
  })

  test('calls that come while Redis stands still wait, and none that fits the limit is refused', async () => {
    const pairOfNodes = [await node(pair[0]), await node(pair[1])]
    const limit = fresh(600_000)
    for (const pauseMs of [150, 400, 900]) {
      await ask(client => client.call('CLIENT', 'PAUSE', String(pauseMs), 'ALL'))
      const outcomes = await Promise.all(
        Array.from({ length: 60 }, async (_, index) => {
          await sleep(index * 10)
          return pairOfNodes[index % 2]?.take([limit], [1])
        }),
      )
      expect([pauseMs, outcomes.filter(outcome => outcome?.fits).length]).toEqual([pauseMs, 60])
    }
  })

  test('a call that waits for Redis and does not fit in time is refused, and told how long to wait', async () => {
    const counters = await node()
    const limit = fresh(2)
    await taken(counters, [limit], [1])
    await ask(client => client.call('CLIENT', 'PAUSE', '4000', 'ALL'))
    const startedAt = performance.now()
    const refused = await counters.take([limit], [1])
    expect(refused.fits).toBe(false)
    expect(performance.now() - startedAt).toBeLessThan(2_000)
    if (!refused.fits) expect(refused.waitMs).toBeGreaterThan(20_000)
  })
})
