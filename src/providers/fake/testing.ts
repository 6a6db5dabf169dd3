import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Pool } from 'undici'
import { afterEach } from 'vitest'
import { type FakeUpstream, type FakeUpstreamOptions, startFakeUpstream } from './upstream.ts'

/** For the tests beside it: an upstream and an undici client for the length of one test. */

export interface Caller {
  readonly upstream: FakeUpstream
  readonly pool: Pool
  /** Posts JSON and returns the response with its body still to be read. */
  send(path: string, body: unknown, signal?: AbortSignal): ReturnType<Pool['request']>
  /** Posts JSON and reads the whole answer as text. */
  post(path: string, body: unknown): Promise<{ status: number; headers: Record<string, unknown>; text: string }>
}

const opened: { upstream: FakeUpstream; pool: Pool }[] = []
const folders: string[] = []

afterEach(async () => {
  for (const { upstream, pool } of opened.splice(0)) {
    await pool.destroy()
    await upstream.stop()
  }
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true })
})

/** A path for a socket that is free, in a folder that goes away with the test. */
export async function freeSocketPath(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'fake-'))
  folders.push(folder)
  return join(folder, 'fake.sock')
}

export async function startCaller(options: FakeUpstreamOptions = {}): Promise<Caller> {
  const upstream = await startFakeUpstream(options)
  const pool = new Pool(upstream.url, options.socketPath === undefined ? {} : { socketPath: options.socketPath })
  opened.push({ upstream, pool })
  const send: Caller['send'] = (path, body, signal) =>
    pool.request({
      path,
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer any' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
      ...(signal && { signal }),
    })
  return {
    upstream,
    pool,
    send,
    async post(path, body) {
      const { statusCode, headers, body: answer } = await send(path, body)
      return { status: statusCode, headers, text: await answer.text() }
    },
  }
}

/** A chat request that says `text`, with more fields if wanted. */
export function chat(text: string, fields: object = {}): object {
  return { model: 'keyhouse-test-chat', messages: [{ role: 'user', content: text }], ...fields }
}

export const chatPath = '/v1/chat/completions'

/** The data of each event of a stream, in order; lines may end with LF or CRLF. */
export function eventData(stream: string): string[] {
  return stream
    .split(/\r?\n\r?\n/)
    .filter(event => event !== '')
    .map(event => event.replace(/^data: /, ''))
}

/** The chunks of a stream that ended with `[DONE]`, parsed; a cast to what OpenAI documents, checked by the asserts. */
export function chunksOf(stream: string): Chunk[] {
  const events = eventData(stream)
  if (events.pop() !== '[DONE]') throw new Error(`The stream did not end with [DONE]: ${stream.slice(-200)}`)
  return events.map(event => JSON.parse(event))
}

export interface Chunk {
  readonly id: string
  readonly object: string
  readonly choices: readonly {
    readonly index: number
    readonly text?: string
    readonly delta?: { readonly role?: string; readonly content?: string }
    readonly finish_reason: string | null
  }[]
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number } | null
}
