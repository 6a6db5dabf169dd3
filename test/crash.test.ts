/**
 * kill -9 at random moments under load, on one node with the embedded database: of the whole server, or of its database
 * alone. What a caller saw answered is charged, once; nothing else is; and the books hold after every round.
 * Two nodes with a database and a Redis of their own are in crash-cluster.test.ts.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type FakeUpstream, startFakeUpstream } from '../src/providers/fake/upstream.ts'
import { Books } from './support/books.ts'
import { CallRecord } from './support/call-record.ts'
import { newDataDir, type RunningKeyhouse, removeDataDir, startKeyhouse } from './support/keyhouse.ts'
import { prepareMoney } from './support/limited-keys.ts'
import { chanceOf, mixedBehaviour, startMixedLoad } from './support/mixed-load.ts'
import { expectMoneyHolds, expectNothingHeld } from './support/money-rules.ts'
import { databaseProcesses } from './support/processes.ts'

const rounds = Number(process.env.KEYHOUSE_CRASH_ROUNDS ?? 50)
const seed = process.env.KEYHOUSE_SEED ?? String(Date.now())
const callers = 24
const loadMsMin = 60
const loadMsMax = 500
/** The load goes on for so long when the database alone was killed. */
const afterMsMax = 600
/** How often the database is the victim; else the server is, and its database with it. */
const databaseShare = 0.3
const roundTimeoutMs = 30_000
const handBackMsMax = 8_000
/** After so many rounds the load pauses until nothing is leased: that takes as long as a node keeps what it does not use. */
const idleEvery = 10
const settings = { 'first-credit-usd': '100', 'lease-idle-ms': '1000' }

const chance = chanceOf(seed)

let upstream: FakeUpstream
let dataDir = ''
let keyhouse: RunningKeyhouse
let keys: readonly string[]

beforeAll(async () => {
  upstream = await startFakeUpstream({ recordsMax: 0, behaviour: mixedBehaviour(chance) })
  dataDir = await newDataDir()
  keyhouse = await startKeyhouse({ dataDir, settings })
  const { admin: adminKey = '', project: projectKey = '' } = keyhouse.keys ?? {}
  keys = await prepareMoney({ url: keyhouse.url, adminKey, projectKey }, upstream.url)
}, roundTimeoutMs)

afterAll(async () => {
  await keyhouse.stop()
  await upstream.stop()
  await removeDataDir(dataDir)
})

async function killServer(): Promise<void> {
  await keyhouse.kill()
  keyhouse = await startKeyhouse({ dataDir, settings })
}

/** It is started again by the server that it belongs to. */
async function killDatabase(round: number): Promise<void> {
  const [main = 0] = databaseProcesses(dataDir)
  process.kill(main, 'SIGKILL')
  await sleep(chance('after', round) * afterMsMax)
}

async function crashUnderLoad(round: number): Promise<ReturnType<typeof startMixedLoad>> {
  const load = startMixedLoad({ urls: () => [keyhouse.url], keys, callers, chance, name: round })
  await sleep(loadMsMin + chance('kill', round) * (loadMsMax - loadMsMin))
  if (chance('victim', round) < databaseShare) {
    await killDatabase(round)
    await load.stop()
  } else {
    await Promise.all([killServer(), load.stop()])
  }
  return load
}

test(
  `no charge is lost or doubled over ${rounds} rounds of kill -9 under load`,
  async () => {
    const record = new CallRecord()
    for (let round = 1; round <= rounds; round += 1) {
      const context = `seed ${seed}, round ${round}`
      const { sent } = await crashUnderLoad(round)
      record.add(sent)
      const books = await Books.open(dataDir)
      await expectMoneyHolds(books, context)
      await record.expectCharged(books, context)
      if (round % idleEvery === 0 || round === rounds) await expectNothingHeld(books, context, handBackMsMax)
      await expectMoneyHolds(books, context)
      await books.close()
    }
    console.log(
      `kill -9, one node: ${rounds} rounds, ${record.count('whole')} calls answered and charged once, ` +
        `${record.count('refused')} refused, ${record.count('cut')} cut (seed ${seed})`,
    )
    expect(record.count('whole')).toBeGreaterThan(rounds)
  },
  rounds * roundTimeoutMs,
)
