/**
 * kill -9 at random moments under load. What a caller saw answered is charged, once; nothing else is; and the books balance
 * after every round. The load is a mix of whole answers, streams, streams that the client leaves, and provider failures.
 */
import { createHash } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type FakeUpstream, startFakeUpstream } from '../src/providers/fake/upstream.ts'
import { makeRunDirectory } from '../src/storage/run-directory.ts'
import { admin, type Keys, newDataDir, type RunningKeyhouse, removeDataDir, startKeyhouse } from './support/keyhouse.ts'

const rounds = Number(process.env.KEYHOUSE_CRASH_ROUNDS ?? 50)
const seed = process.env.KEYHOUSE_SEED ?? String(Date.now())
const callersPerRound = 24
const loadMsMin = 60
const loadMsMax = 500
const roundTimeoutMs = 30_000

/** A number from 0 to 1 that this seed and these words always give. */
const chance = (...words: (string | number)[]): number =>
  createHash('sha256')
    .update([seed, ...words].join(' '))
    .digest()
    .readUInt32BE() /
  2 ** 32

type Sent = { readonly requestId: string | null; readonly outcome: 'complete' | 'partial' | 'failed' }

let upstream: FakeUpstream
let dataDir = ''
let keyhouse: RunningKeyhouse
let keys: Keys

beforeAll(async () => {
  upstream = await startFakeUpstream({
    recordsMax: 0,
    behaviour: ({ number }) => behaviour(number),
  })
  dataDir = await newDataDir()
  keyhouse = await startKeyhouse({ dataDir })
  if (!keyhouse.keys) throw new Error('the first start showed no keys')
  keys = keyhouse.keys
  await admin(keyhouse, keys.admin, 'POST', '/v1/platform/providers', {
    name: 'upstream',
    base_url: `${upstream.url}/v1`,
    api_key: 'sk-upstream-secret',
    models: [{ name: 'm', kind: 'chat', input_usd_per_million: '3', output_usd_per_million: '15' }],
  })
}, roundTimeoutMs)

afterAll(async () => {
  await keyhouse.stop()
  await upstream.stop()
  await removeDataDir(dataDir)
})

function behaviour(number: number) {
  const draw = chance('behaviour', number)
  if (draw < 0.05) return { fault: 'status' as const, status: 500 }
  if (draw < 0.1) return { fault: 'cut' as const, latencyMs: 5 }
  return {
    latencyMs: Math.floor(chance('latency', number) * 40),
    outputTokens: 10,
    chunkIntervalMs: draw < 0.4 ? 5 : 0,
  }
}

async function call(name: string): Promise<Sent> {
  const stream = chance(name, 'stream') < 0.5
  const leaves = stream && chance(name, 'leaves') < 0.3
  let requestId: string | null = null
  try {
    const response = await fetch(`${keyhouse.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${keys.project}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'm',
        stream,
        max_tokens: 20,
        messages: [{ role: 'user', content: `hello from ${name}` }],
      }),
      signal: AbortSignal.timeout(roundTimeoutMs),
    })
    requestId = response.headers.get('x-request-id')
    if (!response.ok) {
      await response.arrayBuffer()
      return { requestId, outcome: 'failed' }
    }
    if (!stream) {
      await response.json()
      return { requestId, outcome: 'complete' }
    }
    return { requestId, outcome: await readStream(response, leaves) }
  } catch {
    return { requestId, outcome: 'partial' }
  }
}

async function readStream(response: Response, leaves: boolean): Promise<Sent['outcome']> {
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true })
    if (leaves) return 'partial'
  }
  return text.includes('data: [DONE]') ? 'complete' : 'partial'
}

async function caller(round: number, index: number, sent: Sent[], over: () => boolean): Promise<void> {
  for (let turn = 0; !over(); turn += 1) sent.push(await call(`${round}.${index}.${turn}`))
}

type Books = {
  entries: string
  revenue: string
  credit: string
  leased: string
  charged: string
  overrun: string
  granted: string
}

async function inspect(): Promise<{ usage: Map<string, number>; books: Books }> {
  const client = new pg.Client({
    host: makeRunDirectory(dataDir),
    port: 5432,
    user: 'keyhouse',
    database: 'keyhouse',
    ssl: false,
  })
  await client.connect()
  try {
    const usage = await client.query<{ request_id: string; rows: number }>(
      'select request_id, count(*)::int as rows from usage_events group by request_id',
    )
    const books = await client.query<Books>(
      `select (select coalesce(sum(amount_nano_usd), 0) from ledger_entries)::text as entries,
         (select balance_nano_usd from ledger_accounts where id = 'platform/revenue')::text as revenue,
         (select -balance_nano_usd from ledger_accounts where id = 'platform/funding')::text as granted,
         (select sum(balance_nano_usd) from ledger_accounts where kind = 'credit')::text as credit,
         (select sum(balance_nano_usd) from ledger_accounts where kind = 'leased')::text as leased,
         (select coalesce(sum(charged_nano_usd), 0) from usage_events)::text as charged,
         (select coalesce(sum(overrun_nano_usd), 0) from usage_events)::text as overrun`,
    )
    const [first] = books.rows
    if (!first) throw new Error('no books')
    return { usage: new Map(usage.rows.map(row => [row.request_id, row.rows])), books: first }
  } finally {
    await client.end()
  }
}

function checkBooks(books: Books): void {
  expect(books.entries).toBe('0')
  expect(BigInt(books.revenue)).toBe(BigInt(books.charged) + BigInt(books.overrun))
  expect(BigInt(books.credit) + BigInt(books.leased) + BigInt(books.charged)).toBe(BigInt(books.granted))
}

test(
  `no charge is lost or doubled over ${rounds} rounds of kill -9 under load`,
  async () => {
    const known = new Map<string, Sent['outcome']>()
    for (let round = 0; round < rounds; round += 1) {
      const sent: Sent[] = []
      let over = false
      const callers = Array.from({ length: callersPerRound }, (_, index) => caller(round, index, sent, () => over))
      await new Promise(resolve => setTimeout(resolve, loadMsMin + chance('kill', round) * (loadMsMax - loadMsMin)))
      over = true
      await keyhouse.kill()
      await Promise.all(callers)
      for (const { requestId, outcome } of sent) if (requestId) known.set(requestId, outcome)

      keyhouse = await startKeyhouse({ dataDir })
      const { usage, books } = await inspect()
      const context = `seed ${seed}, round ${round}`
      for (const [requestId, outcome] of known) {
        if (outcome === 'complete') expect(usage.get(requestId), `${context}: ${requestId} was answered`).toBe(1)
        if (outcome === 'failed') expect(usage.get(requestId), `${context}: ${requestId} failed`).toBeUndefined()
      }
      expect(
        [...usage.values()].filter(rows => rows !== 1),
        `${context}: charged twice`,
      ).toEqual([])
      checkBooks(books)
      expect(books.leased, `${context}: nothing stays reserved`).toBe('0')
    }
    const outcomes = [...known.values()]
    const answered = outcomes.filter(outcome => outcome === 'complete').length
    console.log(
      `kill -9: ${rounds} rounds, ${outcomes.length} calls, ${answered} answered and charged once, ` +
        `${outcomes.filter(outcome => outcome === 'partial').length} cut (seed ${seed})`,
    )
    expect(answered).toBeGreaterThan(rounds)
  },
  rounds * roundTimeoutMs,
)
