/** Bounded load with one key on every node of a cluster, and what the nodes answered when. */
import { setTimeout as sleep } from 'node:timers/promises'

/** Times are of this process's monotonic clock. */
export type Seen = {
  readonly node: number
  readonly beganAtMs: number
  readonly endedAtMs: number
  readonly status: number
}

export type Load = {
  readonly seen: readonly Seen[]
  stop(): Promise<void>
}

export type LoadOptions = {
  readonly urls: readonly string[]
  readonly key: string
  readonly clientsPerNode: number
  readonly random: () => number
}

const pauseMsMax = 20
const callTimeoutMs = 10_000

/** Each client calls, reads the answer, pauses for a moment, and calls again. */
export function loadOn({ urls, key, clientsPerNode, random }: LoadOptions): Load {
  const seen: Seen[] = []
  let over = false
  const client = async (url: string, node: number): Promise<void> => {
    while (!over) {
      seen.push({ node, ...(await callOnce(url, key)) })
      await sleep(random() * pauseMsMax)
    }
  }
  const clients = urls.flatMap((url, node) => Array.from({ length: clientsPerNode }, () => client(url, node)))
  return {
    seen,
    async stop() {
      over = true
      await Promise.all(clients)
    },
  }
}

/** A chat with a test model, which costs nothing. */
export async function callOnce(url: string, key: string): Promise<Omit<Seen, 'node'>> {
  const beganAtMs = performance.now()
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'keyhouse-test-chat', messages: [{ role: 'user', content: 'hello' }] }),
    signal: AbortSignal.timeout(callTimeoutMs),
  })
  await response.arrayBuffer()
  return { beganAtMs, endedAtMs: performance.now(), status: response.status }
}

/** How long after this moment the last call began that a node still answered; 0 where there was none. */
export const lastAnsweredMs = (seen: readonly Seen[], sinceMs: number): number =>
  Math.max(0, ...seen.filter(({ status }) => status === 200).map(({ beganAtMs }) => beganAtMs - sinceMs))

/** What the calls that began at that moment or later were answered with. */
export const statusesSince = (seen: readonly Seen[], sinceMs: number): number[] =>
  [...new Set(seen.filter(({ beganAtMs }) => beganAtMs >= sinceMs).map(({ status }) => status))].sort()
