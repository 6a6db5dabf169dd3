import { once } from 'node:events'
import type { Server } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'undici'
import { afterEach, expect, test } from 'vitest'
import { createModelServer } from './server.ts'
import { createEchoHost, type EchoOptions, makeTempFolder } from './testing.ts'

type Running = { server: Server; socketPath: string; errors: string[]; remove: () => void }
let running: Running | undefined

const start = async (options: EchoOptions & { queueMax?: number } = {}): Promise<Running> => {
  const folder = makeTempFolder()
  const socketPath = join(folder.path, 's.sock')
  const errors: string[] = []
  const host = createEchoHost(options)
  const server = createModelServer({ host, queueMax: options.queueMax ?? 4, logError: message => errors.push(message) })
  server.listen(socketPath)
  await once(server, 'listening')
  running = { server, socketPath, errors, remove: folder.remove }
  return running
}

afterEach(() => {
  running?.server.closeAllConnections()
  running?.server.close()
  running?.remove()
})

const paths = { chat: '/v1/chat/completions', completion: '/v1/completions', embeddings: '/v1/embeddings' }

const post = async (socketPath: string, path: string, body: object | string, signal?: AbortSignal) => {
  const client = new Client('http://local', { socketPath })
  try {
    const sent = typeof body === 'string' ? body : JSON.stringify(body)
    const request = { method: 'POST', path, body: sent, headers: { 'content-type': 'application/json' } } as const
    const reply = await client.request(signal === undefined ? request : { ...request, signal })
    const text = await reply.body.text()
    return { status: reply.statusCode, headers: reply.headers, text, json: () => JSON.parse(text) }
  } finally {
    await client.destroy()
  }
}

const events = (text: string): unknown[] =>
  text
    .split('\n\n')
    .filter(part => part !== '')
    .map(part => part.replace(/^data: /, ''))
    .map(data => (data === '[DONE]' ? data : JSON.parse(data)))

const hello = { model: 'echo', max_tokens: 3, messages: [{ role: 'user', content: 'hello world' }] }

test("a chat completion has OpenAI's shape and true counts", async () => {
  const { socketPath } = await start()
  const reply = await post(socketPath, paths.chat, hello)
  expect(reply.status).toBe(200)
  expect(reply.json()).toEqual({
    id: expect.stringMatching(/^chatcmpl-[0-9a-f]{32}$/),
    object: 'chat.completion',
    created: expect.closeTo(Date.now() / 1000, -1),
    model: 'echo',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: 'hello world hello ', refusal: null, annotations: [] },
        logprobs: null,
        finish_reason: 'length',
      },
    ],
    usage: { prompt_tokens: 2, completion_tokens: 3, total_tokens: 5 },
    system_fingerprint: null,
  })
})

test('a stream begins with the role, ends with the reason, the usage that was asked for, and [DONE]', async () => {
  const { socketPath } = await start()
  const body = { ...hello, stream: true, stream_options: { include_usage: true } }
  const reply = await post(socketPath, paths.chat, body)
  expect(reply.headers['content-type']).toContain('text/event-stream')
  const choice = (delta: object, finish_reason: string | null = null) => [
    { index: 0, logprobs: null, delta, finish_reason },
  ]
  expect(events(reply.text)).toMatchObject([
    { object: 'chat.completion.chunk', choices: choice({ role: 'assistant', content: '' }), usage: null },
    { choices: choice({ content: 'hello ' }), usage: null },
    { choices: choice({ content: 'world ' }) },
    { choices: choice({ content: 'hello ' }) },
    { choices: choice({}, 'length'), usage: null },
    { choices: [], usage: { prompt_tokens: 2, completion_tokens: 3, total_tokens: 5 } },
    '[DONE]',
  ])
})

test('a stream that did not ask for usage has none', async () => {
  const { socketPath } = await start()
  const reply = await post(socketPath, paths.chat, { ...hello, stream: true })
  expect(reply.text).not.toContain('usage')
})

test('the old completions answer in their own shape, streaming too', async () => {
  const { socketPath } = await start()
  const body = { model: 'echo', prompt: 'a b', max_tokens: 2 }
  expect((await post(socketPath, paths.completion, body)).json()).toMatchObject({
    object: 'text_completion',
    choices: [{ text: 'a b ', index: 0, logprobs: null, finish_reason: 'length' }],
  })
  const streamed = events((await post(socketPath, paths.completion, { ...body, stream: true })).text)
  expect(streamed).toMatchObject([
    { object: 'text_completion', choices: [{ text: 'a ' }] },
    { choices: [{ text: 'b ' }] },
    { choices: [{ text: '', finish_reason: 'length' }] },
    '[DONE]',
  ])
})

test('embeddings are the same numbers as floats and as base64', async () => {
  const { socketPath } = await start()
  const body = { model: 'length', input: ['ab', 'abc def'] }
  const floats = (await post(socketPath, paths.embeddings, body)).json()
  expect(floats).toEqual({
    object: 'list',
    data: [
      { object: 'embedding', index: 0, embedding: [2, 0.5, -0.25] },
      { object: 'embedding', index: 1, embedding: [7, 0.5, -0.25] },
    ],
    model: 'length',
    usage: { prompt_tokens: 3, total_tokens: 3 },
  })
  const encoded = (await post(socketPath, paths.embeddings, { ...body, encoding_format: 'base64' })).json()
  const bytes = Buffer.from(encoded.data[1].embedding, 'base64')
  expect([0, 4, 8].map(at => bytes.readFloatLE(at))).toEqual([7, 0.5, -0.25])
})

test.each<[string, string, object | string, number, string | null]>([
  ['invalid JSON', paths.chat, '{"model":', 400, null],
  ['a list for a body', paths.chat, '[]', 400, null],
  ['an unknown address', '/v1/images', {}, 404, null],
  ['an unknown model', paths.chat, { ...hello, model: 'gpt-9' }, 404, 'model_not_found'],
  ['a model of the other kind', paths.embeddings, { model: 'echo', input: 'x' }, 400, 'model_not_supported'],
  ['other dimensions', paths.embeddings, { model: 'length', input: 'x', dimensions: 2 }, 400, 'invalid_value'],
  ['a body that is too large', paths.chat, { ...hello, user: 'x'.repeat(5_000_000) }, 413, 'request_too_large'],
])('%s is answered in the error envelope', async (_what, path, body, status, code) => {
  const { socketPath } = await start()
  const reply = await post(socketPath, path, body)
  expect(reply.status).toBe(status)
  expect(reply.json().error).toMatchObject({ message: expect.any(String), type: 'invalid_request_error', code })
})

test.each([
  ['just too long', `${'x '.repeat(31)}x`, 32],
  ['far too long to be tokenized', 'x'.repeat(3000), 47],
])('a prompt that is %s is refused with the numbers', async (_what, content, tokens) => {
  const { socketPath } = await start()
  const reply = await post(socketPath, paths.chat, { ...hello, messages: [{ role: 'user', content }] })
  expect(reply.status).toBe(400)
  expect(reply.json().error).toEqual({
    message:
      "This model's maximum context length is 32 tokens. However, your messages resulted in " +
      `${tokens} tokens. Please reduce the length of the messages.`,
    type: 'invalid_request_error',
    param: 'messages',
    code: 'context_length_exceeded',
  })
})

test('a limit beyond the context is cut to what fits', async () => {
  const { socketPath } = await start()
  const content = `${'x '.repeat(29)}x`
  const reply = await post(socketPath, paths.chat, {
    ...hello,
    max_tokens: 9999,
    messages: [{ role: 'user', content }],
  })
  expect(reply.json()).toMatchObject({ usage: { completion_tokens: 2 }, choices: [{ finish_reason: 'length' }] })
})

const until = async (isTrue: () => boolean): Promise<void> => {
  for (let i = 0; i < 200 && !isTrue(); i++) await sleep(5)
  expect(isTrue()).toBe(true)
}

test('a caller who leaves stops the generation at once, and the next caller gets the model', async () => {
  let steps = 0
  let ended = 0
  const { socketPath } = await start({ tokenMs: 20, onStep: () => steps++, onEnd: () => ended++ })
  const caller = new AbortController()
  const left = post(socketPath, paths.chat, { ...hello, max_tokens: 16, stream: true }, caller.signal)
  await until(() => steps >= 2)
  caller.abort()
  await expect(left).rejects.toThrow()
  await until(() => ended === 1)
  expect(steps).toBeLessThan(8)
  const next = await post(socketPath, paths.chat, hello)
  expect(next.status).toBe(200)
})

test('a full queue answers 503 with Retry-After, and a caller who leaves it makes room', async () => {
  let steps = 0
  const { socketPath } = await start({ tokenMs: 20, queueMax: 1, onStep: () => steps++ })
  const long = { ...hello, max_tokens: 16 }
  const first = post(socketPath, paths.chat, long)
  await until(() => steps >= 1)
  const caller = new AbortController()
  const second = post(socketPath, paths.chat, long, caller.signal)
  await sleep(30)
  const third = await post(socketPath, paths.chat, long)
  expect(third.status).toBe(503)
  expect(third.headers['retry-after']).toBe('5')
  expect(third.json().error.code).toBe('server_is_overloaded')
  caller.abort()
  await expect(second).rejects.toThrow()
  const fourth = post(socketPath, paths.chat, { ...hello, max_tokens: 1 })
  expect((await first).json().usage.completion_tokens).toBe(16)
  expect((await fourth).status).toBe(200)
  expect(steps).toBe(17)
})

test('a reader who stops reading stops the model instead of filling memory', async () => {
  let steps = 0
  const { socketPath } = await start({ onStep: () => steps++, padding: 'x'.repeat(1_000_000) })
  const body = JSON.stringify({ ...hello, max_tokens: 16, stream: true })
  const socket = connect(socketPath)
  socket.pause()
  socket.write(`POST ${paths.chat} HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
  await until(() => steps > 0)
  await sleep(100)
  expect(steps).toBeLessThan(4)
  let tail = ''
  socket.on('data', chunk => {
    tail = (tail + chunk).slice(-100)
  })
  socket.resume()
  await until(() => tail.includes('[DONE]'))
  expect(steps).toBe(16)
  socket.destroy()
})

test('what breaks inside the model is a 500 that says nothing of it, and a line in the log', async () => {
  const { socketPath, errors } = await start({
    onStep: () => {
      throw new Error('secret detail')
    },
  })
  const reply = await post(socketPath, paths.chat, hello)
  expect(reply.status).toBe(500)
  expect(reply.text).not.toContain('secret')
  expect(errors.join()).toContain('secret detail')
})

test('what breaks in the middle of a stream is an error event without [DONE]', async () => {
  let steps = 0
  const { socketPath } = await start({
    onStep: () => {
      if (++steps === 2) throw new Error('broken')
    },
  })
  const reply = await post(socketPath, paths.chat, { ...hello, stream: true })
  const seen = events(reply.text)
  expect(seen.at(-1)).toMatchObject({ error: { type: 'server_error' } })
  expect(reply.text).not.toContain('[DONE]')
})
