/** Whether checking a key costs the same with a thousand keys in the database as with a million. */
import { randomInt } from 'node:crypto'
import { parseKey } from '#core/key-format.ts'
import { Grants } from '#gateway/grants.ts'
import { hashKey, type Secrets } from '#storage/secrets.ts'
import type { Bench, BenchContext, Findings } from './support/bench.ts'
import { type KeyDatabase, startKeyDatabases } from './support/key-databases.ts'
import { ratiosOf, showMegabytes, showSpread, spreadOf } from './support/statistics.ts'

export const auth: Bench = {
  name: 'auth',
  question:
    'How many keys are checked a second with a thousand, a hundred thousand and a million keys in the database?',
  run,
}

/** As the server has it by default. */
const grantsMax = 50_000
/** Longer than a round: nothing changes here, and the poll is not what is measured. */
const freshMs = 600_000
const checksAtOnce = 32
const coldBatch = 1_000
/** What we take "flat" to mean: the largest costs at most this much of the smallest. */
const flatRatioMax = 1.5

type Series = KeyDatabase & { readonly coldUs: number[]; readonly warmUs: number[] }
type Lengths = { readonly coldBatches: number; readonly warm: number }

async function run({ quick, progress }: BenchContext): Promise<Findings> {
  await using parts = new AsyncDisposableStack()
  const sizes = quick ? [1_000, 10_000] : [1_000, 100_000, 1_000_000]
  const rounds = quick ? 1 : 5
  const lengths = quick ? { coldBatches: 1, warm: 10_000 } : { coldBatches: 3, warm: 100_000 }
  const databases = await startKeyDatabases(parts)
  const all: Series[] = []
  for (const size of sizes) {
    progress(`making ${size.toLocaleString('en')} keys`)
    all.push({ ...(await databases.create(size)), coldUs: [], warmUs: [] })
  }
  progress('warming')
  for (const series of all) await measure({ ...series, coldUs: [], warmUs: [] }, databases.secrets, lengths)
  for (let round = 1; round <= rounds; round += 1) {
    progress(`round ${round} of ${rounds}`)
    for (const series of all) await measure(series, databases.secrets, lengths)
  }
  return report(all)
}

async function measure(series: Series, secrets: Secrets, { coldBatches, warm }: Lengths): Promise<void> {
  const { known, coldUs, warmUs } = series
  let coldMs = 0
  for (let batch = 0; batch < coldBatches; batch += 1) {
    const grants = await emptyGrants(series)
    coldMs += await msOf(() => checkAll(grants, secrets, spread(known)))
  }
  const grants = await emptyGrants(series)
  await checkAll(grants, secrets, known)
  const asked = Array.from({ length: warm }, () => known[randomInt(known.length)] ?? '')
  const warmMs = await msOf(async () => {
    for (const key of asked) checkRemembered(grants, secrets, key)
  })
  coldUs.push((coldMs * 1000) / (coldBatches * coldBatch))
  warmUs.push((warmMs * 1000) / warm)
}

/** With nothing remembered, and fresh: as right after the start of a node. */
async function emptyGrants({ database }: KeyDatabase): Promise<Grants> {
  const grants = new Grants(database, { grantsMax, freshMs, pollMs: freshMs }, () => performance.now())
  await grants.poll()
  return grants
}

/** Different keys, from all over the table. */
function spread(known: readonly string[]): string[] {
  const [start, stride] = [randomInt(known.length), Math.floor(known.length / coldBatch)]
  return Array.from({ length: coldBatch }, (_, index) => known[(start + index * stride) % known.length] ?? '')
}

/** The steps of `authenticate`, without the HTTP around them. */
function check(grants: Grants, secrets: Secrets, key: string): ReturnType<Grants['find']> {
  if (!parseKey(key).ok) throw new Error('a key of ours was refused')
  return grants.find(hashKey(secrets, key))
}

function checkRemembered(grants: Grants, secrets: Secrets, key: string): void {
  const grant = check(grants, secrets, key)
  if (grant === undefined || grant instanceof Promise) throw new Error('a key that should be remembered is not')
}

async function checkAll(grants: Grants, secrets: Secrets, keys: readonly string[]): Promise<void> {
  const left = keys.values()
  const worker = async (): Promise<void> => {
    for (const key of left) {
      const grant = await check(grants, secrets, key)
      if (grant === undefined) throw new Error('a key that is in the database was not found')
    }
  }
  await Promise.all(Array.from({ length: checksAtOnce }, worker))
}

async function msOf(work: () => Promise<void>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return performance.now() - startedAt
}

function report(all: readonly Series[]): Findings {
  const [smallest, largest] = [all[0], all.at(-1)]
  if (!smallest || !largest) throw new Error('nothing was measured')
  const count = (size: number): string => size.toLocaleString('en')
  const perSecond = (us: readonly number[]): string => showSpread(spreadOf(us.map(value => 1_000_000 / value)), 0)
  const slower = (which: 'coldUs' | 'warmUs') => ratiosOf(largest[which], smallest[which])
  const aim = (name: string, which: 'coldUs' | 'warmUs') => ({
    what: `${name} check with ${count(largest.size)} keys ÷ with ${count(smallest.size)}`,
    atMost: flatRatioMax,
    measured: slower(which).median,
    unit: '×',
  })
  return {
    tables: [
      {
        title: 'Key checks a second',
        columns: [
          'keys',
          'cold',
          'cold ÷ smallest',
          'warm',
          'warm ÷ smallest',
          'warm, of so many keys',
          'table and indexes MB',
        ],
        rows: all.map(({ size, known, bytes, coldUs, warmUs }) => [
          count(size),
          perSecond(coldUs),
          showSpread(ratiosOf(coldUs, smallest.coldUs), 2),
          perSecond(warmUs),
          showSpread(ratiosOf(warmUs, smallest.warmUs), 2),
          count(known.length),
          showMegabytes(bytes),
        ]),
      },
    ],
    aims: [aim('a cold', 'coldUs'), aim('a warm', 'warmUs')],
    notes: [
      `In one process, without HTTP: shape and checksum, HMAC, the grants that the gateway remembers, and one SQL where they do not. Cold: no key is remembered and each is asked for once, ${checksAtOnce} at a time, from all over the table. Warm: all that are asked for are remembered. The ratios are of the time a check takes, round by round.`,
    ],
  }
}
