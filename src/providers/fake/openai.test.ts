import OpenAI from 'openai'
import { expect, test } from 'vitest'
import { startCaller } from './testing.ts'

/** The official package is the judge of whether the fake speaks its language. */

const messages = [{ role: 'user' as const, content: 'hello' }]
const reply = "This is a test reply from Keyhouse's fake provider. You said: hello"

async function startClient() {
  const { upstream } = await startCaller()
  return { upstream, client: new OpenAI({ baseURL: `${upstream.url}/v1`, apiKey: 'any', maxRetries: 1 }) }
}

test('the official package chats, streams, completes, embeds and lists', async () => {
  const { client } = await startClient()
  const model = 'keyhouse-test-chat'
  const whole = await client.chat.completions.create({ model, messages })
  expect(whole.choices[0]?.message.content).toBe(reply)

  const stream = client.chat.completions.stream({ model, messages, stream_options: { include_usage: true } })
  const final = await stream.finalChatCompletion()
  expect(final.choices[0]?.message.content).toBe(reply)
  expect(final.usage).toEqual(whole.usage)

  const completion = await client.completions.create({ model, prompt: 'hello' })
  expect(completion.choices[0]?.text).toBe(reply)

  const embedding = await client.embeddings.create({ model: 'keyhouse-test-embedding', input: 'hello', dimensions: 64 })
  expect(embedding.data[0]?.embedding).toHaveLength(64)
  const models = await client.models.list()
  expect(models.data.map(({ id }) => id)).toContain(model)
})

test('the official package sees the rehearsed failures as its own errors, and retries what it should', async () => {
  const { client, upstream } = await startClient()
  const call = (model: string) => client.chat.completions.create({ model, messages })
  await expect(call('keyhouse-test-error-400')).rejects.toBeInstanceOf(OpenAI.BadRequestError)
  expect(upstream.requestCount()).toBe(1)
  await expect(call('keyhouse-test-error-500')).rejects.toBeInstanceOf(OpenAI.InternalServerError)
  expect(upstream.requestCount()).toBe(3)
  const begun = performance.now()
  await expect(call('keyhouse-test-error-429')).rejects.toBeInstanceOf(OpenAI.RateLimitError)
  expect(performance.now() - begun).toBeGreaterThanOrEqual(999)
  await expect(call('keyhouse-test-reset')).rejects.toBeInstanceOf(OpenAI.APIConnectionError)
  const waiting = client.chat.completions.create({ model: 'keyhouse-test-timeout', messages }, { timeout: 100 })
  await expect(waiting).rejects.toBeInstanceOf(OpenAI.APIConnectionTimeoutError)
})
