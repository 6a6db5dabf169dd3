/** What one call that is answered whole costs, from the key check to the settled charge. */
import { constants } from 'node:fs'
import { open, unlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Bench, BenchContext, Findings } from './support/bench.ts'
import { type Peer, startPeer } from './support/child.ts'
import { type Contender, startContenders } from './support/contenders.ts'
import { type LoadResult, load } from './support/load.ts'
import { startNginxAnswering } from './support/nginx.ts'
import { ratiosOf, showMegabytes, showSpread, spreadOf } from './support/statistics.ts'
import type { Tools } from './support/tools.ts'

export const unary: Bench = {
  name: 'unary',
  question: 'What does a call that is answered whole cost, and how much later does its answer come?',
  run,
}

const connections = 32
const bareRatioMax = 1.5
const nginxRatioMax = 6

const requestBody = JSON.stringify({
  model: 'm',
  max_tokens: 64,
  messages: [
    {
      role: 'system',
      content: 'You are a careful assistant. You answer in one sentence, and you say when you are not sure.',
    },
    {
      role: 'user',
      content: 'Which of the rivers that flow through Vienna is the longest, and how long is it in all?',
    },
    { role: 'assistant', content: 'The Danube, at about 2,850 kilometres from its source to the Black Sea.' },
    { role: 'user', content: 'And the second longest?' },
  ],
})

const answerBody = JSON.stringify({
  id: 'chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT',
  object: 'chat.completion',
  created: 1_790_000_000,
  model: 'm',
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: 'The Wien: 34 kilometres, most of them in Lower Austria.', refusal: null },
      logprobs: null,
      finish_reason: 'stop',
    },
  ],
  usage: {
    prompt_tokens: 91,
    completion_tokens: 17,
    total_tokens: 108,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
  },
  service_tier: 'default',
  system_fingerprint: 'fp_44709d6fcb',
})

/** One contender's rounds. */
type Series = {
  readonly contender: Contender
  readonly cpuUs: number[]
  readonly treeCpuUs: number[]
  readonly busy: LoadResult[]
  readonly alone: LoadResult[]
  residentBytes: number
}

async function run({ quick, tools, progress }: BenchContext): Promise<Findings> {
  await using parts = new AsyncDisposableStack()
  const upstream = parts.use(await startUpstream(tools))
  const contenders = await startContenders(parts, tools, { url: upstream.url, models: ['m'], buffering: true })
  const lengths = quick ? { rounds: 1, warm: 1, busy: 1, alone: 1 } : { rounds: 6, warm: 3, busy: 3, alone: 1 }
  const call = (target: { url: string; key: string }, seconds: number, connections: number): Promise<LoadResult> =>
    load(tools, { url: `${target.url}/v1/chat/completions`, key: target.key, body: requestBody, connections, seconds })

  const direct: LoadResult[] = []
  const all = contenders.map(
    (contender): Series => ({ contender, cpuUs: [], treeCpuUs: [], busy: [], alone: [], residentBytes: 0 }),
  )
  // Twice, because connections that close for the first time make V8 throw away what it had compiled
  for (const { contender } of [...all, ...all]) await call(contender, lengths.warm, connections)
  for (let round = 1; round <= lengths.rounds; round += 1) {
    progress(`round ${round} of ${lengths.rounds}`)
    direct.push(await call({ url: upstream.url, key: 'none' }, lengths.alone, 1))
    for (const series of all) {
      series.alone.push(await call(series.contender, lengths.alone, 1))
      await measureBusy(series, () => call(series.contender, lengths.busy, connections))
    }
  }
  return report({ all, direct, diskMs: await syncedWriteMs() })
}

async function measureBusy(series: Series, work: () => Promise<LoadResult>): Promise<void> {
  const { contender } = series
  await contender.settled()
  const before = { own: contender.cpuMs(), tree: contender.treeCpuMs() }
  const result = await work()
  await contender.settled()
  series.cpuUs.push(((contender.cpuMs() - before.own) * 1000) / result.requests)
  series.treeCpuUs.push(((contender.treeCpuMs() - before.tree) * 1000) / result.requests)
  series.busy.push(result)
  series.residentBytes = contender.residentBytes()
}

const startUpstream = (tools: Tools): Promise<Peer> =>
  tools.nginx === undefined
    ? startPeer(new URL('./peers/instant-upstream.ts', import.meta.url), answerBody)
    : startNginxAnswering(answerBody)

type Measured = { readonly all: readonly Series[]; readonly direct: readonly LoadResult[]; readonly diskMs: number }

function report({ all, direct, diskMs }: Measured): Findings {
  const find = (name: Contender['name']): Series | undefined => all.find(({ contender }) => contender.name === name)
  const [nginx, bare, keyhouse] = [find('nginx'), find('bare proxy'), find('Keyhouse')]
  const times = (other: Series | undefined): string =>
    other && keyhouse ? showSpread(ratiosOf(keyhouse.cpuUs, other.cpuUs), 2) : '–'
  const median = (other: Series | undefined): number =>
    other && keyhouse ? ratiosOf(keyhouse.cpuUs, other.cpuUs).median : Number.NaN
  return {
    tables: [
      {
        title: `CPU time a call, ${connections} connections`,
        columns: ['', 'CPU µs', 'with PostgreSQL µs', 'calls/s', 'Keyhouse ÷ this', 'RSS after MB'],
        rows: all.map(series => [
          series.contender.name,
          showSpread(spreadOf(series.cpuUs)),
          series === keyhouse ? showSpread(spreadOf(series.treeCpuUs)) : '–',
          showSpread(spreadOf(series.busy.map(({ requests, seconds }) => requests / seconds)), 0),
          series === keyhouse ? '1' : times(series),
          showMegabytes(series.residentBytes),
        ]),
      },
      {
        title: 'Latency, ms',
        columns: [
          '',
          'p50 alone',
          'p99 alone',
          'p50 added',
          'p99 added',
          `p50 of ${connections}`,
          `p99 of ${connections}`,
        ],
        rows: [
          latencyRow('direct', direct, direct, []),
          ...all.map(({ contender, alone, busy }) => latencyRow(contender.name, alone, direct, busy)),
        ],
      },
    ],
    aims: [
      { what: 'CPU time of a call ÷ bare proxy', atMost: bareRatioMax, measured: median(bare), unit: '×' },
      ...(nginx
        ? [{ what: 'CPU time of a call ÷ nginx', atMost: nginxRatioMax, measured: median(nginx), unit: '×' }]
        : []),
    ],
    notes: [
      `The upstream answers at once with ${answerBody.length} bytes to ${requestBody.length}. CPU time is user + system of all threads of the server, until the last usage record is in the database. Each figure is the median of the rounds with the least and the most; ratios are formed round by round.`,
      `"Alone" is one connection, one call at a time, "added" what is more than without a proxy. There each call of Keyhouse waits for one durable write of its usage, which takes ${diskMs.toFixed(2)} ms (median) on this disk; many at once share one.`,
    ],
  }
}

function latencyRow(
  name: string,
  alone: readonly LoadResult[],
  direct: readonly LoadResult[],
  busy: readonly LoadResult[],
): string[] {
  const of = (results: readonly LoadResult[], which: 'p50Ms' | 'p99Ms'): number =>
    spreadOf(results.map(result => result[which])).median
  const added = (which: 'p50Ms' | 'p99Ms'): string =>
    alone === direct ? '–' : (of(alone, which) - of(direct, which)).toFixed(2)
  return [
    name,
    of(alone, 'p50Ms').toFixed(2),
    of(alone, 'p99Ms').toFixed(2),
    added('p50Ms'),
    added('p99Ms'),
    ...(['p50Ms', 'p99Ms'] as const).map(which => (busy.length > 0 ? of(busy, which).toFixed(2) : '–')),
  ]
}

const probeWrites = 200

/** Median time of a write as the journal does them, of a usage record's size. */
async function syncedWriteMs(): Promise<number> {
  const path = join(tmpdir(), `keyhouse-bench-probe-${process.pid}`)
  const file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_DSYNC, 0o600)
  try {
    const times: number[] = []
    for (let index = 0; index < probeWrites; index += 1) {
      const startedAt = performance.now()
      await file.write(Buffer.alloc(700))
      times.push(performance.now() - startedAt)
    }
    return spreadOf(times).median
  } finally {
    await file.close()
    await unlink(path)
  }
}
