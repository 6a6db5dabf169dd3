import { rename, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { fakeModels } from './models.ts'
import { bodyBytesMax } from './serve.ts'
import { chat, chatPath, freeSocketPath, startCaller } from './testing.ts'
import { startFakeUpstream } from './upstream.ts'

test('a chat answer has exactly the shape of OpenAI and repeats the last user message', async () => {
  const { post } = await startCaller()
  const messages = [
    { role: 'system', content: 'be brief' },
    { role: 'user', content: 'first' },
    { role: 'user', content: [{ type: 'text', text: 'how are you?' }] },
  ]
  const { status, headers, text } = await post(chatPath, { model: 'gpt-x', messages })
  expect(status).toBe(200)
  expect(headers).toMatchObject({ 'content-type': 'application/json', 'x-keyhouse-fake': 'true' })
  expect(JSON.parse(text)).toEqual({
    id: expect.stringMatching(/^chatcmpl-fake-[0-9a-f]{24}$/),
    object: 'chat.completion',
    created: 1_767_225_600,
    model: 'gpt-x',
    service_tier: 'default',
    system_fingerprint: 'fp_keyhouse_fake',
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content: "This is a test reply from Keyhouse's fake provider. You said: how are you?",
          refusal: null,
          annotations: [],
        },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: {
      prompt_tokens: 6,
      completion_tokens: 14,
      total_tokens: 20,
      prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
      completion_tokens_details: {
        reasoning_tokens: 0,
        audio_tokens: 0,
        accepted_prediction_tokens: 0,
        rejected_prediction_tokens: 0,
      },
    },
  })
})

test('the same request gets the same bytes, another one another id', async () => {
  const { post } = await startCaller()
  const [first, second, other] = [
    await post(chatPath, chat('hello')),
    await post(chatPath, chat('hello')),
    await post(chatPath, chat('goodbye')),
  ]
  expect(second.text).toBe(first.text)
  expect(JSON.parse(other.text).id).not.toBe(JSON.parse(first.text).id)
})

test('max_tokens, stop and n shape the answer and are counted', async () => {
  const { post } = await startCaller()
  const cut = JSON.parse((await post(chatPath, chat('hi', { max_tokens: 3, n: 2 }))).text)
  expect(cut.choices.map((choice: { message: { content: string } }) => choice.message.content)).toEqual([
    'This is a',
    'This is a',
  ])
  expect(cut.choices[1]).toMatchObject({ index: 1, finish_reason: 'length' })
  expect(cut.usage).toMatchObject({ prompt_tokens: 1, completion_tokens: 6, total_tokens: 7 })

  const stopped = JSON.parse((await post(chatPath, chat('hi', { stop: ['never', 'est reply'] }))).text)
  expect(stopped.choices[0]).toMatchObject({ message: { content: 'This is a t' }, finish_reason: 'stop' })
  expect(stopped.usage.completion_tokens).toBe(4)
})

test('legacy completions answer every prompt, and stop after 16 tokens unless told otherwise', async () => {
  const { post } = await startCaller()
  const prompt = ['one two three four five six seven', [1, 2, 3]]
  const { text } = await post('/v1/completions', { model: 'davinci-codex', prompt })
  const answer = JSON.parse(text)
  expect(answer).toMatchObject({ id: expect.stringMatching(/^cmpl-fake-/), object: 'text_completion' })
  expect(answer.choices).toEqual([
    {
      text: "This is a test reply from Keyhouse's fake provider. You said: one two three four five",
      index: 0,
      logprobs: null,
      finish_reason: 'length',
    },
    {
      text: "This is a test reply from Keyhouse's fake provider. You said: 3 token numbers",
      index: 1,
      logprobs: null,
      finish_reason: 'stop',
    },
  ])
  expect(answer.usage).toMatchObject({ prompt_tokens: 10, completion_tokens: 30 })
})

test('what arrived is recorded, the newest within the bound, bodies shortened', async () => {
  const { post, upstream } = await startCaller({ recordsMax: 2, recordedBodyBytesMax: 10, now: () => 1_000 })
  for (const text of ['one', 'two', 'three']) await post(`${chatPath}?x=${text}`, chat(text))
  expect(upstream.requestCount()).toBe(3)
  await expect.poll(() => upstream.requests.map(({ answeredAtMs }) => answeredAtMs)).toEqual([1_000, 1_000])
  expect(upstream.requests.map(({ number, path }) => [number, path])).toEqual([
    [2, `${chatPath}?x=two`],
    [3, `${chatPath}?x=three`],
  ])
  expect(upstream.requests[1]).toMatchObject({
    method: 'POST',
    headers: { authorization: 'Bearer any' },
    body: '{"model":"',
    bodyBytes: JSON.stringify(chat('three')).length,
    arrivedAtMs: 1_000,
    chunksWritten: 1,
    clientLeftAtMs: null,
  })
})

test('with recordsMax 0 nothing that was said stays in memory', async () => {
  const { post, upstream } = await startCaller({ recordsMax: 0 })
  await post(chatPath, chat('secret'))
  expect(upstream.requests).toEqual([])
  expect(upstream.requestCount()).toBe(1)
})

test('wrong requests are refused in the envelope of OpenAI, and the wrong field is named', async () => {
  const { post, pool } = await startCaller()
  const refused = async (path: string, body: unknown) => {
    const { status, text } = await post(path, body)
    return [status, JSON.parse(text).error.param, JSON.parse(text).error.code]
  }
  expect(await refused(chatPath, 'not JSON')).toEqual([400, null, null])
  expect(await refused(chatPath, { messages: [] })).toEqual([400, 'model', null])
  expect(await refused(chatPath, { model: 'x', messages: [] })).toEqual([400, 'messages', null])
  expect(await refused(chatPath, chat('x', { max_tokens: 0 }))).toEqual([400, 'max_tokens', null])
  expect(await refused(chatPath, chat('x', { n: 1.5 }))).toEqual([400, 'n', null])
  expect(await refused('/v1/completions', { model: 'x', prompt: { a: 1 } })).toEqual([400, 'prompt', null])
  expect(await refused('/v1/completions', { model: 'x', prompt: ['a', 'b'], n: 65 })).toEqual([400, 'n', null])
  expect(await refused(chatPath, chat('x', { model: 'keyhouse-test-typo' }))).toEqual([404, 'model', 'model_not_found'])
  expect(await refused(chatPath, chat('x', { model: 'keyhouse-test-embedding' }))).toEqual([400, 'model', null])
  expect(await refused('/v1/nowhere', chat('x'))).toEqual([404, null, null])
  expect(await refused(chatPath, ' '.repeat(bodyBytesMax + 1))).toEqual([413, null, null])
  expect((await pool.request({ path: chatPath, method: 'GET' })).statusCode).toBe(405)
})

test('a mistake in the behaviour of a test is shown, not hidden', async () => {
  const { post } = await startCaller({
    behaviour: ({ number }) => {
      if (number === 1) throw new Error('oops')
      return { fault: 'status', status: 42 }
    },
  })
  const { status, text } = await post(chatPath, chat('x'))
  expect(status).toBe(500)
  expect(text).toContain('oops')
  await expect(post(chatPath, chat('x'))).rejects.toThrow(/ECONNRESET|other side closed/)
})

test('the list of models is the table', async () => {
  const { pool } = await startCaller()
  const { body } = await pool.request({ path: '/v1/models', method: 'GET' })
  const { object, data } = JSON.parse(await body.text())
  expect(object).toBe('list')
  expect(data.map((model: { id: string }) => model.id)).toEqual(Object.keys(fakeModels))
})

test('on a Unix socket it answers, replaces a socket left by a killed process, and refuses one in use', async () => {
  const socketPath = await freeSocketPath()
  await leaveStaleSocket(socketPath)
  const { post, upstream } = await startCaller({ socketPath })
  expect((await post(chatPath, chat('hello'))).status).toBe(200)
  await expect(startFakeUpstream({ socketPath })).rejects.toThrow('EADDRINUSE')
  await upstream.stop()
  await expect(stat(socketPath)).rejects.toThrow('ENOENT')
  await upstream.stop()
})

test('a socket path that the system would cut off is refused with the bound', async () => {
  await expect(startFakeUpstream({ socketPath: `/tmp/${'x'.repeat(110)}` })).rejects.toThrow('longer than 107 bytes')
})

/** A socket file that nobody listens on: bound, moved aside, closed (which removes the old name), moved back. */
async function leaveStaleSocket(socketPath: string): Promise<void> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(socketPath, resolve))
  await rename(socketPath, `${socketPath}.aside`)
  await new Promise(resolve => server.close(resolve))
  await rename(`${socketPath}.aside`, socketPath)
}
