/**
 * Five hundred calls at once against money for a hundred: a hundred are admitted, on one node and on several, and every
 * nano-dollar is accounted for when they have ended. Real nodes, real PostgreSQL.
 */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type FakeUpstream, startFakeUpstream } from '../src/providers/fake/upstream.ts'
import { Books } from './support/books.ts'
import { type Cluster, startCluster } from './support/cluster.ts'

const seed = process.env.KEYHOUSE_SEED ?? String(Date.now())
const callsInAll = 500
const covered = 100
const outputTokens = 20
/** A cent a call: input costs nothing here, so that what is held is what is charged. */
const usdPerMillionOutput = '500'
const nanoPerCall = 10_000_000n
const timeoutMs = 120_000
const callTimeoutMs = 60_000

/** A number from 0 to 1 that this seed and these words always give. */
const chance = (...words: (string | number)[]): number =>
  createHash('sha256')
    .update([seed, ...words].join(' '))
    .digest()
    .readUInt32BE() /
  2 ** 32

let upstream: FakeUpstream

beforeAll(async () => {
  upstream = await startFakeUpstream({
    recordsMax: 0,
    behaviour: ({ model, number }) => (model === 'equal' ? { outputTokens, latencyMs: number % 20 } : mixed(number)),
  })
})

afterAll(() => upstream.stop())

function mixed(number: number) {
  const draw = chance('behaviour', number)
  const latencyMs = Math.floor(chance('latency', number) * 50)
  if (draw < 0.08) return { fault: 'status' as const, status: 500, latencyMs }
  if (draw < 0.16) return { fault: 'cut' as const, outputTokens, latencyMs }
  if (draw < 0.2) return { fault: 'hang' as const }
  return {
    outputTokens: 1 + Math.floor(chance('tokens', number) * outputTokens),
    latencyMs,
    chunkIntervalMs: draw < 0.5 ? 2 : 0,
  }
}

type Ended = { readonly status: number; readonly code: string | null; readonly retry: string | null }

async function call(url: string, key: string, model: string, index: number): Promise<Ended> {
  const leaves = model !== 'equal' && chance('leaves', index) < 0.15
  const patienceMs = leaves ? Math.floor(chance('patience', index) * 200) : callTimeoutMs
  try {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model,
        stream: index % 2 === 1,
        max_tokens: outputTokens,
        messages: [{ role: 'user', content: `call ${index}` }],
      }),
      signal: AbortSignal.timeout(patienceMs),
    })
    const text = await response.text()
    const code = response.ok ? null : (JSON.parse(text).error?.code ?? null)
    return { status: response.status, code, retry: response.headers.get('x-should-retry') }
  } catch {
    return { status: 0, code: null, retry: null }
  }
}

const fireAll = (cluster: Cluster, key: string, model: string): Promise<Ended[]> =>
  Promise.all(
    Array.from({ length: callsInAll }, (_, index) =>
      call(cluster.node(index % cluster.nodes.length).url, key, model, index),
    ),
  )

const price = { input_usd_per_million: '0', output_usd_per_million: usdPerMillionOutput }
const models = ['equal', 'mixed'].map(name => ({ name, kind: 'chat', ...price }))

describe.each([1, 2, 4])('on %i nodes', nodes => {
  let cluster: Cluster
  let books: Books
  let project = ''

  beforeAll(async () => {
    cluster = await startCluster({
      nodes,
      settings: {
        'first-credit-usd': '0',
        'requests-per-minute': '1000000',
        'tokens-per-minute': '1000000000',
        'lease-idle-ms': '1000',
        'upstream-answer-timeout-ms': '2000',
      },
    })
    books = await Books.open(cluster.home)
    await cluster.admin('POST', '/v1/platform/providers', {
      name: 'upstream',
      base_url: `${upstream.url}/v1`,
      api_key: 'sk-upstream-secret',
      models,
    })
    const projects = await cluster.admin<{ data: { id: string }[] }>('GET', '/v1/organization/projects')
    project = projects.data[0]?.id ?? ''
    await everyNodeKnows(cluster)
  }, timeoutMs)

  afterAll(async () => {
    await books?.close()
    await cluster?.stop()
  }, timeoutMs)

  const grant = (usd: string): Promise<unknown> =>
    cluster.admin('POST', '/v1/organization/credit_grants', { amount_usd: usd })

  test(
    'credit for a hundred equal calls admits exactly a hundred',
    async () => {
      await grant('1')
      const ended = await fireAll(cluster, cluster.keys.project, 'equal')
      const refused = ended.filter(({ status }) => status !== 200)
      expect(new Set(refused.map(({ status, code, retry }) => `${status} ${code} ${retry}`))).toEqual(
        new Set(['429 credit_balance_exhausted false']),
      )
      expect(ended.length - refused.length).toBe(covered)
      const totals = await books.expectBalanced()
      expect(totals.credit).toBe(0n)
      expect(totals.charged).toBe(BigInt(covered) * nanoPerCall)
      expect(totals.borne).toBe(0n)
    },
    timeoutMs,
  )

  test(
    'a project spend limit for a hundred more admits exactly a hundred more',
    async () => {
      await grant('100')
      const spent = (await books.totals()).charged
      const limit = Number(spent / nanoPerCall) + covered
      await cluster.admin('POST', `/v1/organization/projects/${project}/spend_limit`, {
        threshold_amount: limit,
        currency: 'USD',
        interval: 'month',
      })
      await sleep(1_000)
      const ended = await fireAll(cluster, cluster.keys.project, 'equal')
      const refused = ended.filter(({ status }) => status !== 200)
      expect(new Set(refused.map(({ status, code, retry }) => `${status} ${code} ${retry}`))).toEqual(
        new Set(['429 project_spend_limit_exceeded false']),
      )
      expect(ended.length - refused.length).toBe(covered)
      const totals = await books.expectBalanced()
      expect(totals.charged).toBe(spent + BigInt(covered) * nanoPerCall)
      await cluster.admin('DELETE', `/v1/organization/projects/${project}/spend_limit`)
      await sleep(1_000)
    },
    timeoutMs,
  )

  test(
    `aborts, time-outs and failures mixed in: nothing stays held, and what is spent is what was used (seed ${seed})`,
    async () => {
      const before = await books.totals()
      const ended = await fireAll(cluster, cluster.keys.project, 'mixed')
      const totals = await books.expectBalanced()
      const [priced] = await books.query<{ wrong: bigint; rows: bigint }>(
        `select count(*) filter (where charged_nano_usd + overrun_nano_usd <> output_tokens * 500000) as wrong, count(*) as rows
       from usage_events where model = 'mixed'`,
      )
      expect(priced?.wrong).toBe(0n)
      expect(totals.charged).toBeGreaterThan(before.charged)
      const answered = ended.filter(({ status }) => status === 200).length
      console.log(
        `races on ${nodes} nodes: ${answered} of ${callsInAll} mixed calls answered whole, ${priced?.rows} charged (seed ${seed})`,
      )
      expect(answered).toBeGreaterThan(0)
    },
    timeoutMs,
  )
})

/** A model that was just made is known to a node after its next poll at the latest. */
async function everyNodeKnows(cluster: Cluster): Promise<void> {
  for (const { url } of cluster.nodes) {
    for (const deadline = performance.now() + 10_000; ; await sleep(50)) {
      const response = await fetch(`${url}/v1/models/equal`, {
        headers: { authorization: `Bearer ${cluster.keys.project}` },
        signal: AbortSignal.timeout(callTimeoutMs),
      })
      await response.arrayBuffer()
      if (response.ok) break
      if (performance.now() > deadline) throw new Error(`a node does not know the model: ${response.status}`)
    }
  }
}
