/** Nodes behind a balancer are restarted one after the other, under load, and no caller notices. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Balancer, lookEveryMs, startBalancer } from './support/balancer.ts'
import { type Cluster, startCluster } from './support/cluster.ts'

const noticeMs = 1_000
const callers = 8
const callTimeoutMs = 20_000
const calmMs = 300

let cluster: Cluster
let balancer: Balancer

beforeEach(async () => {
  cluster = await startCluster({ nodes: 2, settings: { 'drain-notice-ms': String(noticeMs) } })
  balancer = await startBalancer(() => cluster.nodes.map(({ url }) => url))
})

afterEach(async () => {
  await balancer.stop()
  await cluster.stop()
})

const ask = (url: string, stream: boolean): Promise<Response> =>
  fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${cluster.keys.test}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'keyhouse-test-chat',
      stream,
      messages: [{ role: 'user', content: 'hello' }],
    }),
    signal: AbortSignal.timeout(callTimeoutMs),
  })

/** @returns 'whole', or what was wrong with the answer */
async function call(url: string, stream: boolean): Promise<string> {
  try {
    const response = await ask(url, stream)
    const text = await response.text()
    const isWhole = stream ? text.endsWith('data: [DONE]\n\n') : text.endsWith('}')
    return response.ok && isWhole ? 'whole' : `${response.status} ${text.slice(-200)}`
  } catch (error) {
    return String(error)
  }
}

test('two nodes are restarted in turn under load, and no call is refused or cut', async () => {
  const results: string[] = []
  let over = false
  const caller = async (_each: unknown, index: number): Promise<void> => {
    while (!over) results.push(await call(balancer.url, index % 2 === 0))
  }
  const load = Promise.all(Array.from({ length: callers }, caller))
  await sleep(calmMs)
  for (const index of [0, 1]) {
    expect(await cluster.node(index).stop()).toBe(0)
    await cluster.start(index)
    await expect.poll(() => balancer.ready().length, { timeout: callTimeoutMs }).toBe(2)
    await sleep(calmMs)
  }
  over = true
  await load
  expect(results.filter(result => result !== 'whole')).toEqual([])
  expect(balancer.failures).toEqual([])
  expect(results.length).toBeGreaterThan(callers * 10)
}, 60_000)

test('a node that is told to stop says so first, takes calls for the time of its notice, then takes no more', async () => {
  const node = cluster.node(0)
  const stoppedAtMs = performance.now()
  const stopped = node.stop()
  await expect.poll(() => balancer.ready(), { interval: lookEveryMs }).toEqual([cluster.node(1).url])
  const ready = await fetch(`${node.url}/health/ready`)
  expect(ready.status).toBe(503)
  expect(await ready.json()).toMatchObject({ reasons: ['the server is shutting down'] })
  const answer = await ask(node.url, false)
  expect(answer.status).toBe(200)
  // A balancer must not find the connection that it kept closed under its next request.
  expect(answer.headers.get('connection')).toBe('close')
  await answer.arrayBuffer()
  expect(performance.now() - stoppedAtMs).toBeLessThan(noticeMs)
  expect(await stopped).toBe(0)
  expect(performance.now() - stoppedAtMs).toBeGreaterThan(noticeMs)
  const late = connect(Number(new URL(node.url).port), '127.0.0.1')
  await expect(once(late, 'connect')).rejects.toThrow('ECONNREFUSED')
})
