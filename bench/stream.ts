/** What one chunk of a running stream costs, and what memory a stream holds while nothing comes. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench, BenchContext, Findings } from './support/bench.ts'
import { type Peer, startPeer } from './support/child.ts'
import { type Contender, startContenders } from './support/contenders.ts'
import { startLoad } from './support/load.ts'
import { ratiosOf, showMegabytes, showSpread, spreadOf } from './support/statistics.ts'
import type { Tools } from './support/tools.ts'

export const stream: Bench = {
  name: 'stream',
  question: 'What does a chunk of a stream cost among 200 streams, and what does an idle stream hold in memory?',
  run,
}

const streams = 200
/** Those that only warm up, and those whose memory is counted. */
const idleStreamsBefore = 500
const idleStreamsCounted = 2_000
const intervalMs = 10
const settleMs = 700
const idleSettleMs = 1_500
const countTimeoutMs = 20_000
const nginxRatioMax = 3

type Series = {
  readonly contender: Contender
  readonly cpuUs: number[]
  readonly treeCpuUs: number[]
  readonly chunksPerSecond: number[]
  residentBytes: number
  idleKilobytes: number
}

type Place = { readonly tools: Tools; readonly upstream: Peer }

async function run({ quick, tools, progress }: BenchContext): Promise<Findings> {
  await using parts = new AsyncDisposableStack()
  const peer = new URL('./peers/stream-upstream.ts', import.meta.url)
  const place = { tools, upstream: parts.use(await startPeer(peer, String(intervalMs))) }
  const target = { url: place.upstream.url, models: ['m', 'idle'], buffering: false }
  const { rounds, windowMs } = quick ? { rounds: 1, windowMs: 500 } : { rounds: 4, windowMs: 3_000 }
  const all: Series[] = []
  for (const contender of await startContenders(parts, tools, target)) {
    progress(`idle streams of ${contender.name}`)
    const idleKilobytes = await measureIdle(contender, place)
    all.push({ contender, cpuUs: [], treeCpuUs: [], chunksPerSecond: [], residentBytes: 0, idleKilobytes })
  }
  progress('warming')
  for (const { contender } of all) await measureChunks(contender, place, windowMs)
  for (let round = 1; round <= rounds; round += 1) {
    progress(`round ${round} of ${rounds}`)
    for (const series of all) add(series, await measureChunks(series.contender, place, windowMs))
  }
  return report(all)
}

type Reading = { readonly atMs: number; readonly ownMs: number; readonly treeMs: number; readonly chunks: number }
type Window = { readonly from: Reading; readonly to: Reading }

/** A window in the midst of the streams: neither their beginning nor their end is in it. */
async function measureChunks(contender: Contender, { tools, upstream }: Place, windowMs: number): Promise<Window> {
  const load = startStreams(tools, contender, { model: 'm', connections: streams })
  await untilStreams(upstream, streams)
  await sleep(settleMs)
  const from = await read(contender, upstream)
  await sleep(windowMs)
  const window = { from, to: await read(contender, upstream) }
  await load[Symbol.asyncDispose]()
  await untilStreams(upstream, 0)
  await contender.settled()
  return window
}

/** @throws Error when not all of the streams are open */
async function read(contender: Contender, upstream: Peer): Promise<Reading> {
  const { streams: open, chunks } = await stats(upstream)
  if (open !== streams) throw new Error(`${contender.name} holds ${open} of ${streams} streams`)
  return { atMs: performance.now(), ownMs: contender.cpuMs(), treeMs: contender.treeCpuMs(), chunks }
}

function add(series: Series, { from, to }: Window): void {
  const chunks = to.chunks - from.chunks
  series.cpuUs.push(((to.ownMs - from.ownMs) * 1000) / chunks)
  series.treeCpuUs.push(((to.treeMs - from.treeMs) * 1000) / chunks)
  series.chunksPerSecond.push((chunks * 1000) / (to.atMs - from.atMs))
  series.residentBytes = series.contender.residentBytes()
}

/** @returns kilobytes of resident memory that a stream holds while nothing comes */
async function measureIdle(contender: Contender, { tools, upstream }: Place): Promise<number> {
  const before = startStreams(tools, contender, { model: 'idle', connections: idleStreamsBefore })
  await untilStreams(upstream, idleStreamsBefore)
  await sleep(idleSettleMs)
  const residentBefore = contender.residentBytes()
  const counted = startStreams(tools, contender, { model: 'idle', connections: idleStreamsCounted })
  await untilStreams(upstream, idleStreamsBefore + idleStreamsCounted)
  await sleep(idleSettleMs)
  const grown = contender.residentBytes() - residentBefore
  await Promise.all([before[Symbol.asyncDispose](), counted[Symbol.asyncDispose]()])
  await untilStreams(upstream, 0)
  await contender.settled()
  return grown / 1000 / idleStreamsCounted
}

function startStreams(
  tools: Tools,
  { url, key }: Contender,
  { model, connections }: { model: string; connections: number },
): AsyncDisposable {
  const messages = [{ role: 'user', content: 'Count until I stop you.' }]
  const body = JSON.stringify({ model, stream: true, max_tokens: 4_096, messages })
  return startLoad(tools, { url: `${url}/v1/chat/completions`, key, body, connections })
}

type Stats = { readonly streams: number; readonly chunks: number }

async function stats({ url }: Peer): Promise<Stats> {
  const response = await fetch(`${url}/stats`, { signal: AbortSignal.timeout(5_000) })
  // stream-upstream.ts answers with exactly this
  return (await response.json()) as Stats
}

async function untilStreams(upstream: Peer, count: number): Promise<void> {
  const deadline = performance.now() + countTimeoutMs
  for (let now = await stats(upstream); now.streams !== count; now = await stats(upstream)) {
    if (performance.now() > deadline) throw new Error(`${now.streams} streams are open instead of ${count}`)
    await sleep(50)
  }
}

function report(all: readonly Series[]): Findings {
  const find = (name: Contender['name']): Series | undefined => all.find(({ contender }) => contender.name === name)
  const [nginx, keyhouse] = [find('nginx'), find('Keyhouse')]
  const ratio = (other: Series) => ratiosOf(keyhouse?.cpuUs ?? [], other.cpuUs)
  return {
    tables: [
      {
        title: `CPU time a chunk, ${streams} streams, a chunk each ${intervalMs} ms`,
        columns: ['', 'CPU µs', 'with PostgreSQL µs', 'chunks/s', 'Keyhouse ÷ this', 'RSS MB', 'an idle stream, KB'],
        rows: all.map(series => [
          series.contender.name,
          showSpread(spreadOf(series.cpuUs)),
          series === keyhouse ? showSpread(spreadOf(series.treeCpuUs)) : '–',
          showSpread(spreadOf(series.chunksPerSecond), 0),
          series === keyhouse ? '1' : showSpread(ratio(series), 2),
          showMegabytes(series.residentBytes),
          series.idleKilobytes.toFixed(1),
        ]),
      },
    ],
    aims: nginx
      ? [{ what: 'CPU time of a chunk ÷ nginx', atMost: nginxRatioMax, measured: ratio(nginx).median, unit: '×' }]
      : [],
    notes: [
      'Chunks as OpenAI sends them with usage asked for, about 300 bytes; the streams are spread evenly over the interval. Measured in the midst of the streams, so that beginning and settling a call are not in it (see unary). Each figure is the median of the rounds with the least and the most; ratios are formed round by round.',
      `An idle stream has had its first chunk, and then silence: how much the resident memory of the fresh process grew from ${idleStreamsBefore} of them to ${idleStreamsCounted.toLocaleString('en')} more, divided. nginx buffers nothing here (proxy_buffering off).`,
    ],
  }
}
