/**
 * Mixed load for a while: streams, clients that leave, providers that fail, refusals of every kind, keys with limits and budgets.
 * Afterwards the server takes no more memory than after its warm-up, holds no money, and has no descriptor open that it had not
 * before. Twenty seconds by default, five minutes with KEYHOUSE_TEST_LONG=1, an hour with `npm run soak -- --minutes 60`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type FakeUpstream, startFakeUpstream } from '../src/providers/fake/upstream.ts'
import { Books } from './support/books.ts'
import { admin, newDataDir, type RunningKeyhouse, removeDataDir, startKeyhouse } from './support/keyhouse.ts'
import { prepareMoney } from './support/limited-keys.ts'
import { chanceOf, type Ending, mixedBehaviour, startMixedLoad } from './support/mixed-load.ts'
import { expectMoneyHolds, expectNothingHeld } from './support/money-rules.ts'
import { heapOf, sizeOf } from './support/process-size.ts'
import { percentile } from './support/steady-calls.ts'

const defaultMinutes = process.env.KEYHOUSE_TEST_LONG === '1' ? 5 : 1 / 3
const minutes = Number(process.env.KEYHOUSE_SOAK_MINUTES ?? defaultMinutes)
const seed = process.env.KEYHOUSE_SEED ?? String(Date.now())
const durationMs = minutes * 60_000
const callers = 12
/** The load is one of a slice after the other, so that nothing of an hour is kept but its sums. */
const sliceMs = Math.min(5_000, durationMs / 10)
/** Of the whole time: code is compiled, caches and heaps find their size. */
const warmUpShare = 0.3
/** So often in all, garbage is collected before memory is looked at: between, it comes and goes as it likes. */
const looks = 20
const collectMs = 300
/** What a heap keeps differs by as much from one look to another; one that is seconds old still finds its size. */
const growthBytesMax = (minutes < 2 ? 64 : 24) * 1024 * 1024
const heapGrowthBytesMax = (minutes < 2 ? 24 : 8) * 1024 * 1024
const handBackMsMax = 20_000
/** Idle connections to the database are closed after ten seconds, those of clients after five. */
const closeMsMax = 30_000
const collectOnSignal = new URL('./support/collect-on-signal.ts', import.meta.url).href
const settings = { 'first-credit-usd': '1000', 'lease-idle-ms': '1000', 'keep-alive-timeout-ms': '5000' }
const setUpMsMax = 60_000

const chance = chanceOf(seed)
const megabytes = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MB`

type Sample = { readonly atMs: number; readonly residentBytes: number; readonly descriptors: number }
type Kept = Sample & { readonly heapBytes: number }
type Soaked = { readonly natural: Sample[]; readonly kept: Kept[]; readonly counts: Record<Ending, number> }

/** The medians of the first and of the last third of what was seen after the warm-up. */
function earlyAndLate(values: readonly number[]) {
  const third = Math.ceil(values.length / 3)
  const early = percentile(values.slice(0, third), 0.5)
  const late = percentile(values.slice(-third), 0.5)
  const shown = (most: number): string =>
    `${megabytes(early)} after warm-up, ${megabytes(late)} at the end (${megabytes(late - early)} of at most ${megabytes(most)} more)`
  return { growth: late - early, shown }
}

describe.runIf(process.platform === 'linux')('under mixed load', () => {
  let upstream: FakeUpstream
  let dataDir = ''
  let keyhouse: RunningKeyhouse
  let keys: string[]
  let books: Books

  beforeAll(async () => {
    upstream = await startFakeUpstream({ recordsMax: 0, behaviour: mixedBehaviour(chance) })
    dataDir = await newDataDir()
    keyhouse = await startKeyhouse({ dataDir, settings, env: { NODE_OPTIONS: `--import=${collectOnSignal}` } })
    const { admin: adminKey = '', project: projectKey = '' } = keyhouse.keys ?? {}
    keys = await prepareMoney({ url: keyhouse.url, adminKey, projectKey }, upstream.url)
    // One that is soon at its limit, and one that nobody has
    keys.push(await limitedKey(adminKey), `${projectKey.slice(0, -1)}${projectKey.endsWith('a') ? 'b' : 'a'}`)
    books = await Books.open(dataDir)
  }, setUpMsMax)

  afterAll(async () => {
    await books?.close()
    await keyhouse?.stop()
    await removeDataDir(dataDir)
  }, setUpMsMax)

  async function limitedKey(adminKey: string): Promise<string> {
    const ask = <Answer>(method: string, path: string, body?: unknown): Promise<Answer> =>
      admin<Answer>(keyhouse, adminKey, method, path, body)
    const { data } = await ask<{ data: { id: string }[] }>('GET', '/v1/organization/projects')
    const path = `/v1/organization/projects/${data[0]?.id}/api_keys`
    const { id, value } = await ask<{ id: string; value: string }>('POST', path, { name: 'limited' })
    await ask('POST', `${path}/${id}/rate_limits/rl-m`, { max_requests_per_1_minute: 60, max_concurrent_requests: 2 })
    return value
  }

  const descriptors = (): number => sizeOf(keyhouse.pid).descriptors

  /** Runs the load to its end, and looks from time to time at what the server takes, and at what it keeps. */
  async function soak(): Promise<Soaked> {
    const [natural, kept]: [Sample[], Kept[]] = [[], []]
    const counts = { whole: 0, refused: 0, cut: 0 }
    const beganAtMs = performance.now()
    const sample = (): Sample => ({ atMs: performance.now() - beganAtMs, ...sizeOf(keyhouse.pid) })
    for (let slice = 1; performance.now() - beganAtMs < durationMs; slice += 1) {
      const load = startMixedLoad({ urls: () => [keyhouse.url], keys, callers, chance, name: slice })
      await sleep(sliceMs)
      natural.push(sample())
      if (performance.now() - beganAtMs > (durationMs / looks) * kept.length) {
        process.kill(keyhouse.pid, 'SIGUSR2')
        await sleep(collectMs)
        kept.push({ ...sample(), heapBytes: await heapOf(keyhouse.url) })
      }
      await load.stop()
      for (const { ending } of load.sent) counts[ending] += 1
    }
    return { natural, kept, counts }
  }

  test(
    `for ${Math.round(durationMs / 1000)} s: memory is flat, no money stays held, no descriptor stays open`,
    async () => {
      await sleep(closeMsMax / 3)
      const before = descriptors()
      const { natural, kept, counts } = await soak()

      const after = kept.filter(({ atMs }) => atMs >= durationMs * warmUpShare)
      const resident = earlyAndLate(after.map(({ residentBytes }) => residentBytes))
      const heap = earlyAndLate(after.map(({ heapBytes }) => heapBytes))
      const most = Math.max(...natural.map(sample => sample.descriptors))
      const peak = Math.max(...natural.map(sample => sample.residentBytes))
      await expectNothingHeld(books, `seed ${seed}`, handBackMsMax)
      await expectMoneyHolds(books, `seed ${seed}`)
      // A provider's connections are kept for as long as it says, which is longer than this
      await upstream.stop()
      await expect.poll(descriptors, { timeout: closeMsMax, interval: 200 }).toBeLessThanOrEqual(before)
      const [{ rows } = { rows: 0n }] = await books.query<{ rows: bigint }>('select count(*) as rows from usage_events')
      console.log(
        `soak of ${minutes.toFixed(1)} minutes: ${counts.whole} calls whole, ${counts.cut} cut, ${counts.refused} refused; ` +
          `memory ${resident.shown(growthBytesMax)}, peak ${megabytes(peak)}; heap after collection ` +
          `${heap.shown(heapGrowthBytesMax)}; descriptors ${before} before, at most ${most}, ${descriptors()} after; ` +
          `held money 0 (seed ${seed})`,
      )
      expect(resident.growth).toBeLessThan(growthBytesMax)
      expect(heap.growth).toBeLessThan(heapGrowthBytesMax)
      expect(rows).toBeGreaterThanOrEqual(BigInt(counts.whole))
      expect(rows).toBeLessThanOrEqual(BigInt(counts.whole + counts.cut))
      expect(Math.min(...Object.values(counts))).toBeGreaterThan(0)
    },
    durationMs + 2 * closeMsMax + handBackMsMax + setUpMsMax,
  )
})
