/**
 * kill -9 at random moments under load, on two nodes that share a database and a Redis: of a node, of the database, of Redis,
 * or of a node and its database at once. What a caller saw answered is charged, once; nothing else is; the books hold after every round.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type FakeUpstream, startFakeUpstream } from '../src/providers/fake/upstream.ts'
import { Books } from './support/books.ts'
import { CallRecord } from './support/call-record.ts'
import { type Cluster, startCluster } from './support/cluster.ts'
import { ClusterDatabase } from './support/cluster-database.ts'
import { modelIsThere, prepareMoney } from './support/limited-keys.ts'
import { chanceOf, mixedBehaviour, startMixedLoad } from './support/mixed-load.ts'
import { expectMoneyHolds, expectNothingHeld } from './support/money-rules.ts'
import { startRedis, type TestRedis } from './support/redis.ts'
import { has } from './support/system.ts'

const rounds = Number(process.env.KEYHOUSE_CRASH_ROUNDS ?? 50)
const seed = process.env.KEYHOUSE_SEED ?? String(Date.now())
const nodes = 2
const callers = 16
const loadMsMin = 60
const loadMsMax = 400
/** How long a victim stays away, at most; the load goes on meanwhile. */
const awayMsMax = 400
const afterMs = 200
const roundTimeoutMs = 30_000
const handBackMsMax = 10_000
/** After so many rounds the load pauses until nothing is leased: that takes as long as a node keeps what it does not use. */
const idleEvery = 10

const chance = chanceOf(seed)

let upstream: FakeUpstream
let redis: TestRedis
let cluster: Cluster
let database: ClusterDatabase
let keys: readonly string[]

const killNode = async (index: number, awayMs: number): Promise<void> => {
  await cluster.node(index).kill()
  await sleep(awayMs)
  await cluster.start(index)
}

const killDatabase = async (awayMs: number): Promise<void> => {
  database.kill()
  await sleep(awayMs)
  await database.start()
}

/** Each with its part of the rounds. */
const crashes: readonly { readonly victim: string; readonly share: number; run(awayMs: number): Promise<void> }[] = [
  { victim: 'first node', share: 0.25, run: awayMs => killNode(0, awayMs) },
  { victim: 'second node', share: 0.25, run: awayMs => killNode(1, awayMs) },
  { victim: 'database', share: 0.25, run: killDatabase },
  {
    victim: 'Redis',
    share: 0.15,
    async run(awayMs) {
      await redis.kill()
      await sleep(awayMs)
      await redis.start()
    },
  },
  {
    victim: 'database and a node',
    share: 0.1,
    async run(awayMs) {
      // The node's process first: it must not find its database again before it has ended
      await cluster.node(0).kill()
      await killDatabase(awayMs)
      await cluster.start(0)
    },
  },
]

function crashOf(round: number): (typeof crashes)[number] {
  let draw = chance('victim', round)
  const chosen = crashes.find(({ share }) => {
    draw -= share
    return draw < 0
  })
  if (!chosen) throw new Error('the shares of the crashes do not sum to 1')
  return chosen
}

describe.runIf(has('redis'))('two nodes with a shared database and Redis', () => {
  beforeAll(async () => {
    upstream = await startFakeUpstream({ recordsMax: 0, behaviour: mixedBehaviour(chance) })
    redis = await startRedis()
    cluster = await startCluster({
      nodes,
      settings: { 'first-credit-usd': '100', 'lease-idle-ms': '1000' },
      env: { REDIS_URL: redis.url },
    })
    database = new ClusterDatabase(cluster)
    const { admin: adminKey, project: projectKey } = cluster.keys
    keys = await prepareMoney({ url: cluster.node(0).url, adminKey, projectKey }, upstream.url)
    for (const { url } of cluster.nodes) await modelIsThere(url, projectKey)
  }, roundTimeoutMs)

  afterAll(async () => {
    await database?.stop()
    await cluster?.stop()
    await redis?.stop()
    await upstream?.stop()
  }, roundTimeoutMs)

  test(
    `no charge is lost or doubled over ${rounds} rounds of kill -9 under load`,
    async () => {
      const record = new CallRecord()
      const victims: Record<string, number> = {}
      const urls = (): string[] => cluster.nodes.map(({ url }) => url)
      for (let round = 1; round <= rounds; round += 1) {
        const { victim, run } = crashOf(round)
        victims[victim] = (victims[victim] ?? 0) + 1
        const context = `seed ${seed}, round ${round}, ${victim}`
        const load = startMixedLoad({ urls, keys, callers, chance, name: round })
        await sleep(loadMsMin + chance('kill', round) * (loadMsMax - loadMsMin))
        await run(chance('away', round) * awayMsMax)
        await sleep(afterMs)
        await load.stop()
        record.add(load.sent)
        const books = await Books.open(cluster.home)
        await expectMoneyHolds(books, context)
        await record.expectCharged(books, context)
        if (round % idleEvery === 0 || round === rounds) await expectNothingHeld(books, context, handBackMsMax)
        await expectMoneyHolds(books, context)
        await books.close()
      }
      console.log(
        `kill -9, two nodes: ${rounds} rounds (${Object.entries(victims)
          .map(([victim, times]) => `${victim} ${times}`)
          .join(', ')}), ` +
          `${record.count('whole')} calls answered and charged once, ${record.count('refused')} refused, ` +
          `${record.count('cut')} cut (seed ${seed})`,
      )
      expect(record.count('whole')).toBeGreaterThan(rounds)
    },
    rounds * roundTimeoutMs,
  )
})
