/** OpenAI's response bodies, and the writers that send them. */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { Answer } from './answer.ts'
import { envelope, type RefusalError } from './refusal.ts'

/** A client that reads nothing for this long loses its connection, so that it cannot keep the model to itself. */
const slowReaderMs = 60_000

export type Usage = {
  readonly prompt_tokens: number
  readonly completion_tokens: number
  readonly total_tokens: number
}

export const usageOf = (promptTokens: number, completionTokens: number): Usage => ({
  prompt_tokens: promptTokens,
  completion_tokens: completionTokens,
  total_tokens: promptTokens + completionTokens,
})

export const sendJson = (response: ServerResponse, status: number, body: unknown, headers = {}): void => {
  const bytes = Buffer.from(JSON.stringify(body))
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length, ...headers })
  response.end(bytes)
}

export const sendRefusal = (response: ServerResponse, { refusal }: RefusalError): void => {
  const retry = refusal.retryAfterSeconds === undefined ? {} : { 'retry-after': String(refusal.retryAfterSeconds) }
  if (!response.headersSent) sendJson(response, refusal.status, envelope(refusal), retry)
  // the status has left: an event with an `error` is what the SDKs turn into an exception; no [DONE] follows
  else response.end(`data: ${JSON.stringify(envelope(refusal))}\n\n`)
}

/** Resolves when the reader goes on or goes away; cuts one that does neither. */
const untilRead = async (response: ServerResponse): Promise<void> => {
  const waiting = new AbortController()
  const { signal } = waiting
  const timer = setTimeout(() => response.destroy(), slowReaderMs)
  await Promise.race([once(response, 'drain', { signal }), once(response, 'close', { signal })])
  clearTimeout(timer)
  waiting.abort()
}

/** Writes server-sent events; resolves when the reader has taken enough of them for the next. */
export const createEventStream = (response: ServerResponse) => {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
  const send = async (data: string): Promise<void> => {
    // a connection that has closed will not say so twice
    if (!response.destroyed && !response.write(`data: ${data}\n\n`)) await untilRead(response)
  }
  return {
    event: (body: unknown): Promise<void> => send(JSON.stringify(body)),
    end: async (): Promise<void> => {
      await send('[DONE]')
      response.end()
    },
  }
}

/** What differs between the two text endpoints on the wire. */
export type TextShape = {
  readonly idPrefix: string
  readonly object: string
  readonly chunkObject: string
  readonly choice: (answer: Answer) => object
  /** The chunk before any text, for chat. */
  readonly opening: object | null
  readonly delta: (text: string) => object
  readonly closing: (finishReason: Answer['finishReason']) => object
}

const plain = { index: 0, logprobs: null } as const

export const chatShape: TextShape = {
  idPrefix: 'chatcmpl-',
  object: 'chat.completion',
  chunkObject: 'chat.completion.chunk',
  choice: ({ text, finishReason }) => ({
    ...plain,
    message: { role: 'assistant', content: text, refusal: null, annotations: [] },
    finish_reason: finishReason,
  }),
  opening: { ...plain, delta: { role: 'assistant', content: '', refusal: null }, finish_reason: null },
  delta: text => ({ ...plain, delta: { content: text }, finish_reason: null }),
  closing: finishReason => ({ ...plain, delta: {}, finish_reason: finishReason }),
}

export const completionShape: TextShape = {
  idPrefix: 'cmpl-',
  object: 'text_completion',
  chunkObject: 'text_completion',
  choice: ({ text, finishReason }) => ({ ...plain, text, finish_reason: finishReason }),
  opening: null,
  delta: text => ({ ...plain, text, finish_reason: null }),
  closing: finishReason => ({ ...plain, text: '', finish_reason: finishReason }),
}
