import { expect, test } from 'vitest'
import { chat, chatPath, eventData, freeSocketPath, startCaller } from './testing.ts'
import type { FakeUpstream } from './upstream.ts'

const say = (model: string, fields: object = {}) => chat('hello', { model: `keyhouse-test-${model}`, ...fields })
const streamed = { stream: true, max_tokens: 6 }

test.each([
  [400, 'invalid_request_error', null],
  [401, 'invalid_request_error', 'invalid_api_key'],
  [429, 'requests', 'rate_limit_exceeded'],
  [500, 'server_error', null],
  [503, 'service_unavailable_error', 'server_is_overloaded'],
])('the model for error %i answers so, as OpenAI would, and says that it is on purpose', async (status, type, code) => {
  const { post } = await startCaller()
  for (const path of [chatPath, '/v1/embeddings']) {
    const answer = await post(path, say(`error-${status}`))
    expect(answer.status).toBe(status)
    expect(answer.headers['retry-after']).toBe(status === 429 ? '1' : undefined)
    const message = expect.stringContaining("Keyhouse's fake provider answers")
    expect(JSON.parse(answer.text).error).toEqual({ message, type, param: null, code })
  }
})

test('a reset comes before any header, over TCP and over a Unix socket', async () => {
  const { send, upstream } = await startCaller()
  await expect(send(chatPath, say('reset'))).rejects.toThrow('ECONNRESET')
  await hungUp(upstream)
  expect(upstream.requests[0]).toMatchObject({ chunksWritten: 0, clientLeftAtMs: null, answeredAtMs: null })
  const overSocket = await startCaller({ socketPath: await freeSocketPath() })
  await expect(overSocket.send(chatPath, say('reset'))).rejects.toThrow(/ECONNRESET|other side closed/)
})

test('a cut stream ends within, and it is not the client who left', async () => {
  const { send, upstream } = await startCaller()
  const { body } = await send(chatPath, say('cut', streamed))
  const { text, error } = await readUntilError(body)
  expect(error).toMatch(/other side closed|terminated/)
  expect(eventData(text)).toHaveLength(1 + 3)
  expect(text).not.toContain('[DONE]')
  await hungUp(upstream)
  expect(upstream.requests[0]?.clientLeftAtMs).toBeNull()
})

test('a cut unary answer has fewer bytes than it promised', async () => {
  const { send } = await startCaller()
  const { headers, body } = await send(chatPath, say('cut'))
  const { text, error } = await readUntilError(body)
  expect(error).not.toBe('')
  expect(text.length).toBe(Math.floor(Number(headers['content-length']) / 2))
})

test('a truncated answer ends properly but is not whole', async () => {
  const { post } = await startCaller()
  const stream = (await post(chatPath, say('truncated', streamed))).text
  expect(eventData(stream)).toHaveLength(1 + 3)
  expect(stream).not.toMatch(/"finish_reason":"|\[DONE\]/)
  const { text } = await post(chatPath, say('truncated'))
  expect(() => JSON.parse(text)).toThrow(SyntaxError)
})

test('a malformed answer is not JSON', async () => {
  const { post } = await startCaller()
  const unary = await post(chatPath, say('malformed'))
  expect(unary).toMatchObject({ status: 200, headers: { 'content-type': 'application/json' } })
  expect(unary.text).toMatch(/^<html>/)
  const events = eventData((await post(chatPath, say('malformed', streamed))).text)
  expect(events).toHaveLength(1 + 3 + 2)
  expect(() => JSON.parse(events[3] ?? '')).not.toThrow()
  expect(() => JSON.parse(events[4] ?? '')).toThrow(SyntaxError)
  expect(events[5]).toBe('[DONE]')
})

test('a fault comes after exactly as many tokens as a test wants', async () => {
  const { send } = await startCaller({ behaviour: () => ({ fault: 'cut', faultAfterTokens: 5 }) })
  const { text } = await readUntilError((await send(chatPath, chat('hi', { stream: true }))).body)
  expect(eventData(text)).toHaveLength(1 + 5)
})

test('the models without a fault do what their row says', async () => {
  const { post } = await startCaller()
  const answer = async (model: string) => JSON.parse((await post(chatPath, say(model))).text)
  expect((await answer('long')).usage.completion_tokens).toBe(500)
  expect((await answer('reasoning')).usage).toMatchObject({
    completion_tokens: 76,
    completion_tokens_details: { reasoning_tokens: 64 },
  })
  expect((await answer('cached')).usage).toMatchObject({
    prompt_tokens: 1_024,
    prompt_tokens_details: { cached_tokens: 1_000 },
  })
  expect(await answer('no-usage')).not.toHaveProperty('usage')
  expect((await answer('content-filter')).choices[0]).toMatchObject({
    message: { content: 'This is a test reply' },
    finish_reason: 'content_filter',
  })
  const begun = performance.now()
  await answer('slow')
  expect(performance.now() - begun).toBeGreaterThanOrEqual(1_999)
})

test('extra headers of a vendor can be played', async () => {
  const { post } = await startCaller({ behaviour: () => ({ headers: { 'set-cookie': 'a=b' } }) })
  for (const fields of [{}, { stream: true }, { n: 0 }]) {
    expect((await post(chatPath, chat('hi', fields))).headers['set-cookie']).toBe('a=b')
  }
})

test.each([
  ['during the latency', { latencyMs: 60_000 }, 0],
  ['while nothing comes', { fault: 'hang' }, 0],
  ['between two chunks', { chunkIntervalMs: 60_000 }, 1],
  ['while it does not read', { outputTokens: 1_000_000 }, 500_000],
] as const)('a client that leaves %s is noticed at once and nothing goes on', async (_when, behaviour, chunksMax) => {
  const { send, upstream } = await startCaller({ behaviour: () => behaviour })
  const leave = new AbortController()
  const gone = send(chatPath, chat('hi', { stream: true }), leave.signal).then(
    ({ body }) => new Promise(resolve => body.once('error', resolve)),
    error => error,
  )
  await expect.poll(() => upstream.requests[0]?.bodyBytes).toBeGreaterThan(0)
  await new Promise(resolve => setTimeout(resolve, 50))
  const leftAtMs = Date.now()
  leave.abort()
  expect(await gone).toMatchObject({ name: 'AbortError' })
  await expect.poll(() => upstream.requests[0]?.clientLeftAtMs).toBeGreaterThanOrEqual(leftAtMs)
  expect((upstream.requests[0]?.clientLeftAtMs ?? 0) - leftAtMs).toBeLessThan(1_000)
  const written = upstream.requests[0]?.chunksWritten
  expect(written).toBeLessThanOrEqual(chunksMax)
  await new Promise(resolve => setTimeout(resolve, 50))
  expect(upstream.requests[0]?.chunksWritten).toBe(written)
})

test('stopping cuts what is running and is not taken for the leaving of a client', async () => {
  const { send, upstream } = await startCaller({ behaviour: () => ({ fault: 'hang' }) })
  const waiting = expect(send(chatPath, chat('hi'))).rejects.toThrow(/ECONNRESET|other side closed/)
  await expect.poll(() => upstream.requestCount()).toBe(1)
  await upstream.stop()
  await waiting
  await hungUp(upstream)
  expect(upstream.requests[0]).toMatchObject({ clientLeftAtMs: null, answeredAtMs: null })
})

async function readUntilError(body: AsyncIterable<Buffer>): Promise<{ text: string; error: string }> {
  const pieces: Buffer[] = []
  try {
    for await (const piece of body) pieces.push(piece)
  } catch (error) {
    return { text: Buffer.concat(pieces).toString(), error: String(error) }
  }
  return { text: Buffer.concat(pieces).toString(), error: '' }
}

/** Resolves when the upstream has broken the connection of the first request. */
async function hungUp(upstream: FakeUpstream): Promise<void> {
  await expect.poll(() => upstream.requests[0]?.hungUpAtMs).toBeTypeOf('number')
}
