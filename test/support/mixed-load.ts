/**
 * The load of the crash tests and of the soak: whole answers, streams, streams that the client leaves, and providers that
 * fail, from a few callers at a time. What happens to which call is drawn from a seed, so that a run can be had again.
 */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Behaviour } from '../../src/providers/fake/behaviour.ts'

/** A number from 0 to 1 that the seed and these words always give. */
export type Chance = (...words: readonly (string | number)[]) => number

export const chanceOf =
  (seed: string): Chance =>
  (...words) =>
    createHash('sha256')
      .update([seed, ...words].join(' '))
      .digest()
      .readUInt32BE() /
    2 ** 32

/** `whole`: the caller saw all of the answer. `refused`: it saw an error instead. `cut`: neither is certain. */
export type Ending = 'whole' | 'refused' | 'cut'

/** The id is null where the connection broke before any header came. */
export type Sent = { readonly requestId: string | null; readonly ending: Ending; readonly status: number }

export type MixedLoad = {
  readonly sent: readonly Sent[]
  /** Lets every call that is under way come to its end. */
  stop(): Promise<void>
}

export type MixedLoadOptions = {
  /** The nodes as they are now: one that is started again has another port. */
  readonly urls: () => readonly string[]
  readonly keys: readonly string[]
  readonly callers: number
  readonly chance: Chance
  /** Tells the calls of this load from those of another one with the same chance. */
  readonly name: string | number
}

const callTimeoutMs = 30_000
/** After a call that got no answer: the node may be gone, and is not to be hammered. */
const pauseMs = 20
const outputTokensMax = 20

export function startMixedLoad({ urls, keys, callers, chance, name }: MixedLoadOptions): MixedLoad {
  const sent: Sent[] = []
  let over = false
  const caller = async (index: number): Promise<void> => {
    for (let turn = 0; !over; turn += 1) {
      const id = `${name}.${index}.${turn}`
      const one = await callOnce(pick(urls(), chance(id, 'node')), pick(keys, chance(id, 'key')), id, chance)
      sent.push(one)
      if (one.ending !== 'whole') await sleep(pauseMs)
    }
  }
  const running = Array.from({ length: callers }, (_, index) => caller(index))
  return {
    sent,
    async stop() {
      over = true
      await Promise.all(running)
    },
  }
}

const pick = (items: readonly string[], draw: number): string => items[Math.floor(draw * items.length)] ?? ''

async function callOnce(url: string, key: string, id: string, chance: Chance): Promise<Sent> {
  const stream = chance(id, 'stream') < 0.5
  let [requestId, status]: [string | null, number] = [null, 0]
  try {
    const response = await post(url, key, { id, stream })
    requestId = response.headers.get('x-request-id')
    status = response.status
    return { requestId, status, ending: await endingOf(response, stream, chance(id, 'leaves') < 0.3) }
  } catch {
    return { requestId, status, ending: 'cut' }
  }
}

const post = (url: string, key: string, { id, stream }: { id: string; stream: boolean }): Promise<Response> =>
  fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'm',
      stream,
      max_tokens: outputTokensMax,
      messages: [{ role: 'user', content: `hello from ${id}` }],
    }),
    signal: AbortSignal.timeout(callTimeoutMs),
  })

async function endingOf(response: Response, stream: boolean, leaves: boolean): Promise<Ending> {
  if (!response.ok) {
    await response.arrayBuffer()
    return 'refused'
  }
  if (stream) return readStream(response, leaves)
  await response.json()
  return 'whole'
}

async function readStream(response: Response, leaves: boolean): Promise<Ending> {
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true })
    if (leaves) return 'cut'
  }
  return text.endsWith('data: [DONE]\n\n') ? 'whole' : 'cut'
}

/** What the fake provider does with the n-th request that reaches it. */
export const mixedBehaviour =
  (chance: Chance) =>
  ({ number }: { readonly number: number }): Partial<Behaviour> => {
    const draw = chance('behaviour', number)
    if (draw < 0.05) return { fault: 'status', status: 500 }
    if (draw < 0.1) return { fault: 'cut', latencyMs: 5 }
    return {
      latencyMs: Math.floor(chance('latency', number) * 40),
      outputTokens: 1 + Math.floor(chance('tokens', number) * (outputTokensMax - 1)),
      chunkIntervalMs: draw < 0.4 ? 5 : 0,
    }
  }
