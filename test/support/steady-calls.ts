/** A few callers with one key on one node, who call without end, and what each call was answered with, and when. */
import { setTimeout as sleep } from 'node:timers/promises'

/** Times are of this process's monotonic clock. */
export type Answered = {
  readonly beganAtMs: number
  readonly endedAtMs: number
  readonly status: number
  readonly code: string | null
  readonly requestId: string | null
}

export type SteadyCalls = {
  readonly seen: readonly Answered[]
  stop(): Promise<void>
}

const callTimeoutMs = 30_000
const pauseMs = 15

export async function callModel(url: string, key: string, body: Record<string, unknown> = {}): Promise<Answered> {
  const beganAtMs = performance.now()
  const response = await postChat(url, key, body)
  const text = await response.text()
  // Checked in the tests that look at it: any other shape is no code.
  const { error } = JSON.parse(text) as { error?: { code?: string | null } }
  const requestId = response.headers.get('x-request-id')
  return { beganAtMs, endedAtMs: performance.now(), status: response.status, code: error?.code ?? null, requestId }
}

export const postChat = (url: string, key: string, body: Record<string, unknown> = {}): Promise<Response> =>
  fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'm', max_tokens: 5, messages: [{ role: 'user', content: 'hello' }], ...body }),
    signal: AbortSignal.timeout(callTimeoutMs),
  })

export function callSteadily(url: string, key: string, callers: number): SteadyCalls {
  const seen: Answered[] = []
  let over = false
  const caller = async (): Promise<void> => {
    while (!over) {
      seen.push(await callModel(url, key))
      await sleep(pauseMs)
    }
  }
  const running = Array.from({ length: callers }, caller)
  return {
    seen,
    async stop() {
      over = true
      await Promise.all(running)
    },
  }
}

/** @returns when the node first answered this key again */
export async function answeredAgain(url: string, key: string, waitMs: number): Promise<number> {
  const deadline = performance.now() + waitMs
  for (;;) {
    const { status, code, endedAtMs } = await callModel(url, key)
    if (status === 200) return endedAtMs
    if (endedAtMs > deadline) throw new Error(`${url} did not come back within ${waitMs} ms: ${status} ${code}`)
    await sleep(pauseMs)
  }
}

/** What was answered with the status, of the calls that began at this moment or later. */
export const statusesFrom = (seen: readonly Answered[], fromMs: number): number[] =>
  [...new Set(seen.filter(({ beganAtMs }) => beganAtMs >= fromMs).map(({ status }) => status))].sort()

export const percentile = (values: readonly number[], part: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))] ?? 0

export const shownMs = (time: number): string => `${Math.round(time)} ms`
