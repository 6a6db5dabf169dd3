/**
 * What is revoked, disabled, narrowed, archived or expired is refused on every node within one second: under load on all of
 * them, with notifications lost, with a node stopped and resumed, with the database cut off from a node, and with clocks
 * that are a minute apart. Each case prints how long after the acknowledged change the last call began that was answered.
 * KEYHOUSE_SEED repeats the pauses and choices of a run.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Books } from './support/books.ts'
import { type Cluster, startCluster } from './support/cluster.ts'
import { callOnce, type Load, lastAnsweredMs, loadOn, type Seen, statusesSince } from './support/cluster-load.ts'
import { eventsOf, readAll } from './support/streams.ts'

const boundMs = 1_000
const clientsPerNode = 4
const beforeMs = 300
const afterMs = boundMs + 200
const stoppedMs = 2_000
const recoveryMsMax = 5_000
const streamTimeoutMs = 20_000
const minuteMs = 60_000
const seed = Number(process.env.KEYHOUSE_SEED ?? Date.now() % 2 ** 31)

type Key = { readonly id: string; readonly value: string; readonly path: string; readonly project: string }

/** What an operator does to end a key, and who hears of it first is whoever did it. */
const ends = {
  revoked: ({ path }) => ['DELETE', path],
  disabled: ({ path }) => ['POST', `${path}/disable`],
  'down-scoped': ({ path }) => ['POST', path, { scopes: ['model.request.embeddings'] }],
  archived: ({ project }) => ['POST', `${project}/archive`],
} as const satisfies Record<string, (key: Key) => readonly [method: string, path: string, body?: unknown]>

type End = keyof typeof ends
const allEnds = Object.keys(ends) as End[]

describe.each([{ nodes: 2 }, { nodes: 4 }])('$nodes nodes', ({ nodes }) => {
  const random = randomFrom(seed + nodes)
  const proxied = nodes - 1
  let cluster: Cluster
  let books: Books

  beforeAll(async () => {
    console.log(`KEYHOUSE_SEED=${seed}`)
    cluster = await startCluster({ nodes, proxied: [proxied], envOf: index => skewedBy(skewOf(index)) })
    books = await Books.open(cluster.home)
  })
  afterAll(async () => {
    await books?.close()
    await cluster?.stop()
  })

  /** A key of a project of its own, which calls nothing but test models. */
  async function newKey(settings: object = {}, author = 0): Promise<Key> {
    const { id } = await cluster.admin<{ id: string }>('POST', '/v1/organization/projects', { name: 'doomed' })
    const project = `/v1/organization/projects/${id}`
    const body = { name: 'doomed', test: true, ...settings }
    const key = await cluster.admin<{ id: string; value: string }>('POST', `${project}/api_keys`, body, author)
    return { ...key, project, path: `${project}/api_keys/${key.id}` }
  }

  const load = ({ value: key }: Key): Load =>
    loadOn({ urls: cluster.nodes.map(({ url }) => url), key, clientsPerNode, random })

  /** @returns when the change was acknowledged */
  async function endKey(key: Key, end: End, author: number): Promise<number> {
    const [method, path, body] = ends[end](key)
    await cluster.admin(method, path, body, author)
    return performance.now()
  }

  /** Checks every node by itself, and prints the worst. @returns by node */
  function expectRefused(what: string, seen: readonly Seen[], deadAtMs: number, refusals: (node: number) => number[]) {
    const perNode = cluster.nodes.map((_node, index) => seen.filter(({ node }) => node === index))
    const lastMs = perNode.map(ofNode => lastAnsweredMs(ofNode, deadAtMs))
    console.log(
      `revocation, ${nodes} nodes, ${what}: worst ${ms(Math.max(...lastMs))} (by node: ${lastMs.map(ms).join(', ')})`,
    )
    for (const [index, ofNode] of perNode.entries()) {
      expect(ofNode.some(({ status, beganAtMs }) => status === 200 && beganAtMs < deadAtMs)).toBe(true)
      expect(lastMs[index], `node ${index}`).toBeLessThan(boundMs)
      expect(statusesSince(ofNode, deadAtMs + boundMs), `node ${index}`).toEqual(refusals(index))
      expectNoReturn(ofNode, deadAtMs)
    }
  }

  async function endUnderLoad(what: string, end: End): Promise<void> {
    const key = await newKey()
    const running = load(key)
    await sleep(beforeMs)
    const deadAtMs = await endKey(key, end, Math.floor(random() * nodes))
    await sleep(afterMs)
    await running.stop()
    expectRefused(`${what}, ${end}`, running.seen, deadAtMs, () => [401])
  }

  test.each(allEnds)('under load: %s, and refused everywhere within one second', end => endUnderLoad('under load', end))

  test('with all notifications lost: refused everywhere within one second', async () => {
    const repair = await breakNotifications(books)
    try {
      for (const end of allEnds) await endUnderLoad('LISTEN broken', end)
    } finally {
      await repair()
    }
  })

  test('expired: refused everywhere within one second, and not before, though clocks are a minute apart', async () => {
    // Made by a node whose own clock would have it expired a minute ago
    const key = await newKey({ expires_in_seconds: 2 }, 1)
    const [row] = await books.query<{ left: number }>(
      'select extract(epoch from expires_at - clock_timestamp())::float8 * 1000 as left from api_keys where id = $1',
      [key.id],
    )
    const deadAtMs = performance.now() + (row?.left ?? 0)
    const running = load(key)
    await sleep(deadAtMs - performance.now() + afterMs)
    await running.stop()
    const clocks = cluster.nodes.map((_node, index) => skewOf(index) / 1000).join(', ')
    expectRefused(`expired, clocks off by ${clocks} s`, running.seen, deadAtMs, () => [401])
    expect(
      statusesSince(
        running.seen.filter(({ endedAtMs }) => endedAtMs < deadAtMs - 100),
        0,
      ),
    ).toEqual([200])
  })

  test('its streams, one on every node, are cut within one second', async () => {
    for (const how of ['heard', 'lost']) {
      const key = await newKey()
      const reading = cluster.nodes.map(async ({ url }) => {
        const { text } = await readAll(await stream(url, key.value))
        return { text, endedAtMs: performance.now() }
      })
      await sleep(beforeMs)
      const repair = how === 'lost' ? await breakNotifications(books) : undefined
      const deadAtMs = await endKey(key, 'revoked', 0).finally(repair)
      const read = await Promise.all(reading)
      const worstMs = Math.max(...read.map(({ endedAtMs }) => endedAtMs - deadAtMs))
      console.log(`revocation, ${nodes} nodes, running streams, notification ${how}: cut after at most ${ms(worstMs)}`)
      expect(worstMs).toBeLessThan(boundMs)
      for (const { text } of read) expect(eventsOf(text).at(-1)?.error).toMatchObject({ code: 'invalid_api_key' })
    }
  })

  test.each(['heard', 'lost'])(
    'with a node stopped for two seconds and the notification %s: it never answers again',
    async how => {
      const stopped = nodes - 1 - Math.floor(random() * (nodes - 1))
      const key = await newKey()
      const running = load(key)
      await sleep(beforeMs)
      const repair = how === 'lost' ? await breakNotifications(books) : undefined
      const { pid, url } = cluster.node(stopped)
      process.kill(pid, 'SIGSTOP')
      const stoppedAtMs = performance.now()
      let deadAtMs: number
      let first: Promise<Omit<Seen, 'node'>>[]
      try {
        deadAtMs = await endKey(key, 'revoked', 0)
        // Over connections of their own: the first thing that the node sees when it goes on
        first = Array.from({ length: 8 }, () => callOnce(url, key.value))
        await sleep(stoppedMs - (performance.now() - stoppedAtMs))
      } finally {
        process.kill(pid, 'SIGCONT')
        await repair?.()
      }
      const resumedAtMs = performance.now()
      const firstSeen = await Promise.all(first)
      await sleep(afterMs)
      await running.stop()
      expect(new Set(firstSeen.map(({ status }) => status))).toEqual(new Set([401]))
      expectRefused(`node ${stopped} stopped for 2 s, notification ${how}`, running.seen, deadAtMs, () => [401])
      const ofStopped = running.seen.filter(({ node }) => node === stopped)
      expect(statusesSince(ofStopped, resumedAtMs)).toEqual([401])
    },
  )

  test.each(['cut', 'hang'] as const)(
    'with the database gone from one node (%s): 503 within one second, and never the dead key',
    async fault => {
      const key = await newKey()
      const living = await newKey()
      const { url } = cluster.node(proxied)
      expect((await callOnce(url, living.value)).status).toBe(200)
      const running = load(key)
      await sleep(beforeMs)
      const proxy = cluster.proxy(proxied)
      await proxy[fault]()
      let deadAtMs: number
      let restoredAtMs: number
      try {
        deadAtMs = await endKey(key, 'revoked', 0)
        // A call to a node that hears nothing at all is refused after one second more
        await sleep(2 * boundMs + afterMs)
      } finally {
        restoredAtMs = performance.now()
        await proxy.restore()
      }
      const backAtMs = await answeredAgain(url, living.value)
      await sleep(beforeMs)
      await running.stop()
      const whileAway = running.seen.filter(({ endedAtMs }) => endedAtMs < restoredAtMs)
      expectRefused(`database away from node ${proxied} (${fault})`, whileAway, deadAtMs, node => [
        node === proxied ? 503 : 401,
      ])
      expect(statusesSince(running.seen, restoredAtMs).filter(status => status !== 503)).toEqual([401])
      console.log(
        `  node ${proxied} answers living keys again ${ms(backAtMs - restoredAtMs)} after the database is back`,
      )
    },
  )
})

/** Ten seconds of tokens, if nobody cuts it. */
const stream = (url: string, key: string): Promise<Response> =>
  fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'keyhouse-test-long', stream: true, messages: [{ role: 'user', content: 'hello' }] }),
    signal: AbortSignal.timeout(streamTimeoutMs),
  })

/** Clocks of other nodes than the first are a minute behind or ahead of the database's, in turn. */
const skewOf = (index: number): number => (index === 0 ? 0 : index % 2 === 1 ? -minuteMs : minuteMs)

const skewedBy = (skewMs: number) => ({
  NODE_OPTIONS: `--import=${new URL('./support/skewed-clock.ts', import.meta.url).href}`,
  CLOCK_SKEW_MS: String(skewMs),
})

/** From the first refusal after the end on, each later call is refused too. */
function expectNoReturn(ofNode: readonly Seen[], deadAtMs: number): void {
  const refused = ofNode.filter(({ status, beganAtMs }) => status !== 200 && beganAtMs >= deadAtMs)
  const firstRefusedMs = Math.min(...refused.map(({ endedAtMs }) => endedAtMs))
  expect(statusesSince(ofNode, firstRefusedMs)).not.toContain(200)
}

/** Changes are recorded as ever, and nobody is told. @returns what puts it right again */
async function breakNotifications(books: Books): Promise<() => Promise<void>> {
  const [row] = await books.query<{ source: string }>(
    `select pg_get_functiondef('record_auth_event'::regproc) as source`,
  )
  const source = row?.source ?? ''
  const silent = source.replace(/perform pg_notify\(.*?\);/, '')
  expect(silent).not.toBe(source)
  await books.query(silent)
  return async () => {
    await books.query(source)
  }
}

/** @returns when the node first answered this key */
async function answeredAgain(url: string, key: string): Promise<number> {
  const deadline = performance.now() + recoveryMsMax
  for (;;) {
    const { status, endedAtMs } = await callOnce(url, key)
    if (status === 200) return endedAtMs
    if (endedAtMs > deadline) throw new Error(`the node did not come back within ${recoveryMsMax} ms: ${status}`)
  }
}

const ms = (time: number): string => `${Math.round(time)} ms`

/** Mulberry32. @returns numbers from 0 up to 1 */
function randomFrom(start: number): () => number {
  let state = start
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
