import { once } from 'node:events'
import { expect, test } from 'vitest'
import type { Behaviour } from './behaviour.ts'
import { type Chunk, chat, chatPath, chunksOf, eventData, startCaller } from './testing.ts'

const streamed = { stream: true }
const asked = { stream: true, stream_options: { include_usage: true } }

async function streamOf(behaviour: Partial<Behaviour>, fields: object): Promise<string> {
  const { post } = await startCaller({ behaviour: () => behaviour })
  return (await post(chatPath, chat('hi', fields))).text
}

const usageOf = (chunks: readonly Chunk[]) =>
  chunks.map(({ usage }) => (usage === null ? null : usage?.completion_tokens))

test('a chat stream opens with the role, says one token a chunk, and ends with the reason and [DONE]', async () => {
  const { post } = await startCaller()
  const { headers, text } = await post(chatPath, chat('hi', { ...streamed, max_tokens: 2 }))
  expect(headers['content-type']).toBe('text/event-stream; charset=utf-8')
  const chunks = chunksOf(text)
  expect(new Set(chunks.map(({ id }) => id)).size).toBe(1)
  expect(chunks[0]).toEqual({
    id: expect.stringMatching(/^chatcmpl-fake-/),
    object: 'chat.completion.chunk',
    created: 1_767_225_600,
    model: 'keyhouse-test-chat',
    service_tier: 'default',
    system_fingerprint: 'fp_keyhouse_fake',
    choices: [
      { index: 0, delta: { role: 'assistant', content: '', refusal: null }, logprobs: null, finish_reason: null },
    ],
  })
  expect(chunks.slice(1).map(({ choices }) => [choices[0]?.delta, choices[0]?.finish_reason])).toEqual([
    [{ content: 'This' }, null],
    [{ content: ' is' }, null],
    [{}, 'length'],
  ])
})

test('the chunks of every choice and prompt join to the unary answer', async () => {
  const { post } = await startCaller()
  const body = { model: 'm', prompt: ['hello', 'a\nb'], n: 2, max_tokens: 50 }
  const whole = JSON.parse((await post('/v1/completions', body)).text)
  const chunks = chunksOf((await post('/v1/completions', { ...body, ...asked })).text)
  const texts = ['', '', '', '']
  for (const { choices } of chunks) for (const { index, text } of choices) texts[index] += text ?? ''
  expect(texts).toEqual(whole.choices.map((choice: { text: string }) => choice.text))
  expect(texts[2]).toMatch(/You said: a\nb$/)
  expect(chunks.at(-1)?.usage).toEqual(whole.usage)
})

test('usage is null on every chunk and then a chunk of its own, only when asked', async () => {
  const chunks = chunksOf(await streamOf({}, { ...asked, max_tokens: 2 }))
  expect(usageOf(chunks)).toEqual([null, null, null, null, 2])
  expect(chunks.at(-1)?.choices).toEqual([])
  expect(usageOf(chunksOf(await streamOf({}, { ...streamed, max_tokens: 1 })))).toEqual([
    undefined,
    undefined,
    undefined,
  ])
})

test('vendors that report usage elsewhere can be played', async () => {
  const cut = { ...asked, max_tokens: 2 }
  expect(usageOf(chunksOf(await streamOf({ usageShape: 'absent' }, cut)))).toEqual(Array(4).fill(undefined))
  expect(usageOf(chunksOf(await streamOf({ usageShape: 'every-chunk' }, cut)))).toEqual([0, 1, 2, 2])
  const ridden = chunksOf(await streamOf({ usageShape: 'with-choices' }, { ...cut, n: 2 }))
  expect(usageOf(ridden)).toEqual([...Array(7).fill(undefined), 4])
  expect(ridden.at(-1)?.choices).toMatchObject([{ index: 1, finish_reason: 'length' }])
})

test('spaced JSON and CRLF say the same as compact JSON and LF', async () => {
  const compact = await streamOf({}, asked)
  const spaced = await streamOf({ usageShape: 'spaced' }, asked)
  expect(spaced).toContain('"usage": null }\r\n\r\ndata: ')
  expect(spaced.replaceAll('\r\n', '')).not.toContain('\n')
  expect(chunksOf(spaced)).toEqual(chunksOf(compact))
  expect(await streamOf({ usageShape: 'spaced' }, {})).toContain('"total_tokens": 13,')
})

test('forced numbers are reported as they are', async () => {
  const forced = { promptTokens: 90, cachedTokens: 64, reasoningTokens: 7, outputTokens: 30 }
  const chunks = chunksOf(await streamOf({ ...forced, chunkText: 'é' }, asked))
  expect(chunks.filter(({ choices }) => choices[0]?.delta?.content === 'é')).toHaveLength(30)
  expect(chunks.at(-1)?.usage).toMatchObject({
    prompt_tokens: 90,
    completion_tokens: 37,
    total_tokens: 127,
    prompt_tokens_details: { cached_tokens: 64 },
    completion_tokens_details: { reasoning_tokens: 7 },
  })
  const bounded = JSON.parse(await streamOf(forced, { max_completion_tokens: 5 }))
  expect(bounded.choices[0]).toMatchObject({ message: { content: '' }, finish_reason: 'length' })
  expect(bounded.usage.completion_tokens).toBe(5)
})

test('a split stream has the same bytes in odd pieces', async () => {
  const { upstream, send } = await startCaller({
    behaviour: ({ number }) => ({ chunkText: 'wörd', splitBytes: number === 1 ? null : 7 }),
  })
  const plain = Buffer.from(await (await send(chatPath, chat('hi', streamed))).body.arrayBuffer())
  const pieces: Buffer[] = []
  const { body } = await send(chatPath, chat('hi', streamed))
  // not by iteration, which joins what has arrived in the meantime
  await once(
    body.on('data', piece => pieces.push(piece)),
    'end',
  )
  expect(Buffer.concat(pieces).equals(plain)).toBe(true)
  expect(pieces.filter(piece => piece.length === 7).length).toBeGreaterThan(100)
  expect(upstream.requests[1]?.chunksWritten).toBe(Math.ceil(plain.length / 7))
})

test('chunks keep their distance and the first byte waits for the latency', async () => {
  const { send } = await startCaller({ behaviour: () => ({ latencyMs: 80, chunkIntervalMs: 10, outputTokens: 10 }) })
  const begun = performance.now()
  const { body } = await send(chatPath, chat('hi', streamed))
  const firstByteMs = performance.now() - begun
  expect(eventData(await body.text())).toHaveLength(13)
  expect(firstByteMs).toBeGreaterThanOrEqual(79)
  // 12 pauses; timers may fire up to 1 ms early
  expect(performance.now() - begun - firstByteMs).toBeGreaterThanOrEqual(12 * 9)
})

test('nothing is written faster than the client reads', async () => {
  const outputTokens = 100_000
  const { upstream, send } = await startCaller({ behaviour: () => ({ outputTokens, chunkText: 'x'.repeat(1_000) }) })
  const { body } = await send(chatPath, chat('hi', streamed))
  await expect.poll(() => upstream.requests[0]?.chunksWritten).toBeGreaterThan(0)
  const stalledAt = await settled(() => upstream.requests[0]?.chunksWritten ?? 0)
  expect(stalledAt).toBeLessThan(outputTokens / 2)
  let bytes = 0
  for await (const piece of body) bytes += piece.length
  expect(bytes).toBeGreaterThan(outputTokens * 1_000)
  expect(upstream.requests[0]?.chunksWritten).toBe(outputTokens + 3)
})

/** The number once it has not changed for 100 ms. */
async function settled(read: () => number): Promise<number> {
  for (let last = -1; ; ) {
    const current = read()
    if (current === last) return current
    last = current
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}
