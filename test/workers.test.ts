/**
 * KEYHOUSE_WORKERS: several processes, one port, one bill. What a caller saw answered is charged once, whoever is killed, and
 * however many workers the next start has.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Books } from './support/books.ts'
import { chatBody, startGateway, type TestGateway } from './support/gateway.ts'
import { type RunningKeyhouse, startKeyhouse } from './support/keyhouse.ts'
import { processesOf, signalAll } from './support/processes.ts'
import { startRedis, type TestRedis } from './support/redis.ts'
import { has } from './support/system.ts'

const callersAtOnce = 16
const waitMs = 15_000
const loadMs = 400

describe.runIf(has('redis'))('several workers', () => {
  let redis: TestRedis
  let settings: Record<string, string>
  let gateway: TestGateway
  const others: RunningKeyhouse[] = []

  beforeEach(async () => {
    redis = await startRedis()
    settings = { workers: '2', 'redis-url': redis.url, 'lease-idle-ms': '1000' }
    gateway = await startGateway({ settings })
  })

  afterEach(async () => {
    try {
      for (const each of others.splice(0)) await each.stop()
      await gateway.stop()
    } finally {
      await redis.stop()
    }
  })

  const workerPids = (): number[] =>
    processesOf(gateway.keyhouse.dataDir)
      .filter(line => line.includes('/src/worker.ts'))
      .map(line => Number(line.split(' ', 1)[0]))

  const processesLeft = (): string[] => processesOf(gateway.keyhouse.dataDir)

  /** Another start on the same data directory, stopped with the rest. */
  async function startAgain(more: Record<string, string>): Promise<RunningKeyhouse> {
    const again = await startKeyhouse({ dataDir: gateway.keyhouse.dataDir, settings: more })
    others.push(again)
    return again
  }

  /** Calls until it is over. @returns the request ids of those that were answered whole */
  async function load(url: string, until: Promise<unknown>): Promise<string[]> {
    const answered: string[] = []
    let over = false
    void until.then(() => {
      over = true
    })
    const caller = async (): Promise<void> => {
      while (!over) {
        const id = await call(url)
        if (id) answered.push(id)
        else await sleep(10)
      }
    }
    await Promise.all(Array.from({ length: callersAtOnce }, caller))
    return answered
  }

  async function call(url: string): Promise<string | undefined> {
    try {
      const response = await fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${gateway.keys.project}`, 'content-type': 'application/json' },
        body: JSON.stringify(chatBody('load')),
        signal: AbortSignal.timeout(waitMs),
      })
      await response.json()
      return response.ok ? (response.headers.get('x-request-id') ?? undefined) : undefined
    } catch {
      return undefined
    }
  }

  async function expectChargedOnce(answered: readonly string[]): Promise<void> {
    const books = await Books.open(gateway.keyhouse.dataDir)
    try {
      await books.expectBalanced()
      const rows = await books.query<{ request_id: string; rows: number }>(
        'select request_id, count(*)::int as rows from usage_events group by request_id',
      )
      const charged = new Map(rows.map(row => [row.request_id, row.rows]))
      expect(answered.length).toBeGreaterThan(callersAtOnce)
      expect(answered.filter(id => charged.get(id) !== 1)).toEqual([])
      expect(rows.filter(row => row.rows !== 1)).toEqual([])
    } finally {
      await books.close()
    }
  }

  test('both answer on one port, under one banner, and are counted together', async () => {
    const answered = await load(gateway.url, sleep(4 * loadMs))
    const books = await Books.open(gateway.keyhouse.dataDir)
    const [nodes] = await books.query<{ count: number }>('select count(distinct node_id)::int as count from leases')
    await books.close()
    expect(nodes?.count).toBe(2)
    const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
    const counted = [...metrics.matchAll(/^keyhouse_calls_total\{.*\} (\d+)$/gm)]
    expect(counted.reduce((sum, [, count]) => sum + Number(count), 0)).toBe(answered.length)
    expect(gateway.keyhouse.output().match(/listens on/g)).toHaveLength(1)
    await expectChargedOnce(answered)
  })

  test('a worker that is killed comes back, and its usage is charged exactly once', async () => {
    const [victim = 0, other] = workerPids()
    const back = (async () => {
      await sleep(loadMs)
      signalAll([victim], 'SIGKILL')
      await expect.poll(workerPids, { timeout: waitMs }).toEqual([other, expect.any(Number)])
      await sleep(loadMs)
    })()
    const answered = await load(gateway.url, back)
    await back
    expect(workerPids()).not.toContain(victim)
    await expectChargedOnce(answered)
  })

  test('Ctrl-C leaves no process', async () => {
    // A terminal sends it to every process of the group.
    signalAll([gateway.keyhouse.pid, ...workerPids()], 'SIGINT')
    expect(await gateway.keyhouse.stop()).toBe(0)
    expect(processesLeft()).toEqual([])
  })

  test('a call in flight is answered when the workers stop', async () => {
    const slow = await startGateway({ settings, cases: { slow: { latencyMs: 800 } } })
    try {
      const answer = slow.chat('slow')
      await sleep(200)
      expect(await slow.keyhouse.stop()).toBe(0)
      expect((await answer).status).toBe(200)
    } finally {
      await slow.stop()
    }
  })

  test('kill -9 of the primary leaves no process; fewer workers take up what was left, and so do more', async () => {
    const first = load(gateway.url, sleep(loadMs + 200))
    await sleep(loadMs)
    await gateway.keyhouse.kill()
    await expect.poll(processesLeft, { timeout: waitMs }).toEqual([])
    const alone = await startAgain({ 'lease-idle-ms': '1000' })
    await expectChargedOnce(await first)

    const second = load(alone.url, sleep(loadMs + 200))
    await sleep(loadMs)
    await alone.kill()
    await startAgain(settings)
    await expectChargedOnce([...(await first), ...(await second)])
  })
})
