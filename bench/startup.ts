/** How long until the first answer, what rests in memory, and what lies on the disk. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Keys, newDataDir, removeDataDir, startKeyhouse } from '../test/support/keyhouse.ts'
import type { Bench, BenchContext, Findings, Table } from './support/bench.ts'
import { endsWithUs } from './support/child.ts'
import { installedPackages } from './support/installed-packages.ts'
import { memoryOf, treeOf } from './support/process-tree.ts'
import { showMegabytes, showSpread, spreadOf } from './support/statistics.ts'

export const startup: Bench = {
  name: 'startup',
  question: 'How long from the command to the first answer, and what does Keyhouse take at rest and on the disk?',
  run,
}

const freshSecondsMax = 6
const secondSecondsMax = 1.5
const restMegabytesMax = 300
const shownPackages = 12

type Start = { readonly readySeconds: number; readonly modelsSeconds: number; readonly chatSeconds: number }
type Rest = { readonly server: Memory; readonly database: Memory }
type Memory = ReturnType<typeof memoryOf>

async function run({ quick, progress }: BenchContext): Promise<Findings> {
  const { rounds, restMs } = quick ? { rounds: 1, restMs: 500 } : { rounds: 5, restMs: 5_000 }
  const [fresh, second, rests]: [Start[], Start[], Rest[]] = [[], [], []]
  for (let round = 1; round <= rounds; round += 1) {
    progress(`round ${round} of ${rounds}`)
    await using parts = new AsyncDisposableStack()
    const dataDir = parts.adopt(await newDataDir(), removeDataDir)
    const first = await startOnce(dataDir, undefined)
    await first.stop()
    const again = await startOnce(dataDir, first.keys)
    parts.defer(again.stop)
    fresh.push(first.start)
    second.push(again.start)
    if (round > 1) continue
    await sleep(restMs)
    rests.push(restOf(again.pid))
  }
  return report({ fresh, second, rests })
}

type Started = { readonly start: Start; readonly keys: Keys; readonly pid: number; stop(): Promise<void> }

/** From the command to two answered calls. The keys are in the banner of the first start. */
async function startOnce(dataDir: string, known: Keys | undefined): Promise<Started> {
  const startedAt = performance.now()
  const seconds = (): number => (performance.now() - startedAt) / 1000
  const keyhouse = await startKeyhouse({ dataDir })
  const readySeconds = seconds()
  const ended = endsWithUs(keyhouse.pid)
  const keys = known ?? keyhouse.keys
  if (!keys) throw new Error('the first start showed no keys')
  await call(keyhouse.url, '/v1/models', { headers: { authorization: `Bearer ${keys.project}` } })
  const modelsSeconds = seconds()
  await call(keyhouse.url, '/v1/chat/completions', {
    method: 'POST',
    headers: { authorization: `Bearer ${keys.test}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'keyhouse-test-chat', messages: [{ role: 'user', content: 'hello' }] }),
  })
  const start = { readySeconds, modelsSeconds, chatSeconds: seconds() }
  const stop = async (): Promise<void> => {
    await keyhouse.stop()
    ended()
  }
  return { start, keys, pid: keyhouse.pid, stop }
}

async function call(url: string, path: string, init: RequestInit): Promise<void> {
  const response = await fetch(url + path, { ...init, signal: AbortSignal.timeout(10_000) })
  const text = await response.text()
  if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`)
}

const restOf = (pid: number): Rest => ({
  server: memoryOf([pid]),
  database: memoryOf(treeOf(pid).filter(member => member !== pid)),
})

type Measured = { readonly fresh: readonly Start[]; readonly second: readonly Start[]; readonly rests: readonly Rest[] }

function report({ fresh, second, rests }: Measured): Findings {
  const [rest] = rests
  if (!rest) throw new Error('no round measured the memory at rest')
  const firstAnswer = (starts: readonly Start[]): number => spreadOf(starts.map(start => start.modelsSeconds)).median
  const packages = installedPackages()
  return {
    tables: [startTable(fresh, second), memoryTable(rest), sizeTable(packages)],
    aims: [
      { what: 'fresh start to the first answer', atMost: freshSecondsMax, measured: firstAnswer(fresh), unit: 's' },
      { what: 'second start to the first answer', atMost: secondSecondsMax, measured: firstAnswer(second), unit: 's' },
      {
        what: 'memory at rest, server and database (PSS)',
        atMost: restMegabytesMax,
        measured: (rest.server.pss + rest.database.pss) / 1_000_000,
        unit: 'MB',
      },
    ],
    notes: [
      'Without the embedded model (--local-model off). From the start of the launcher, under a Node that can run Keyhouse itself; reading the banner adds up to 40 ms that no user waits for. Files are in the page cache.',
      'At rest: five seconds after the second start and its two calls. RSS counts pages that processes share once for each; PSS shares them out, so it is what the tree really takes.',
      'On the disk: what `npm install` leaves in node_modules on this platform, without model weights. "Needed" is what runs Keyhouse; the rest types, lints, tests and measures it.',
    ],
  }
}

function startTable(fresh: readonly Start[], second: readonly Start[]): Table {
  const row = (name: string, starts: readonly Start[]): string[] => [
    name,
    ...(['readySeconds', 'modelsSeconds', 'chatSeconds'] as const).map(which =>
      showSpread(spreadOf(starts.map(start => start[which])), 2),
    ),
  ]
  return {
    title: 'Seconds from the command',
    columns: ['', 'banner', 'GET /v1/models answered', 'and then a chat call'],
    rows: [row('fresh data directory', fresh), row('second start', second)],
  }
}

function memoryTable({ server, database }: Rest): Table {
  const row = (name: string, { rss, pss }: Memory): string[] => [name, showMegabytes(rss), showMegabytes(pss)]
  const both = { rss: server.rss + database.rss, pss: server.pss + database.pss }
  return {
    title: 'Memory at rest, MB',
    columns: ['', 'RSS', 'PSS'],
    rows: [row('server', server), row('PostgreSQL', database), row('both', both)],
  }
}

function sizeTable(packages: ReturnType<typeof installedPackages>): Table {
  const sum = (needed: boolean): number =>
    packages.filter(part => part.needed === needed).reduce((bytes, part) => bytes + part.bytes, 0)
  const rest = packages.slice(shownPackages)
  const restBytes = rest.reduce((bytes, part) => bytes + part.bytes, 0)
  return {
    title: '`npm install`, MB on the disk',
    columns: ['package', 'MB', 'needed'],
    rows: [
      ...packages.slice(0, shownPackages).map(part => [part.name, showMegabytes(part.bytes), part.needed ? 'yes' : '']),
      [`${rest.length} smaller ones`, showMegabytes(restBytes), ''],
      ['all that is needed', showMegabytes(sum(true)), 'yes'],
      ['all', showMegabytes(sum(true) + sum(false)), ''],
    ],
  }
}
