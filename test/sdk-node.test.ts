/** The official `openai` package for Node, unchanged but for its base URL. */
import OpenAI from 'openai'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startGateway, type TestGateway } from './support/gateway.ts'

let gateway: TestGateway
let client: OpenAI

const messages = [{ role: 'user' as const, content: 'hello there' }]
const spoken = /^This is a test reply from Keyhouse's fake provider\. You said: hello there$/

beforeAll(async () => {
  gateway = await startGateway({
    settings: { 'first-credit-usd': '0.5', 'clamped-output-tokens-min': '0' },
    cases: {
      'always 500': { fault: 'status', status: 500 },
      cut: { fault: 'cut', outputTokens: 20, chunkIntervalMs: 5 },
      long: { outputTokens: 500, chunkIntervalMs: 20 },
      reasoning: { promptTokens: 1_000, cachedTokens: 900, reasoningTokens: 32 },
      busy: { fault: 'status', status: 429, retryAfterSeconds: 1 },
    },
  })
  client = clientFor(gateway.keys.project)
})

afterAll(() => gateway.stop())

const clientFor = (apiKey: string, more: { fetch?: typeof fetch } = {}): OpenAI =>
  new OpenAI({ apiKey, baseURL: `${gateway.url}/v1`, ...more })

/** A client, and how often it went over the wire: the SDK does not tell that it retried. */
function counting(apiKey = gateway.keys.project) {
  const sent = { requests: 0 }
  const counted: typeof fetch = (input, init) => {
    sent.requests += 1
    return fetch(input, init)
  }
  return { sent, client: clientFor(apiKey, { fetch: counted }) }
}

const failure = (promise: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> =>
  promise.then(
    () => expect.unreachable('the call succeeded'),
    error => error,
  )

test('a chat is answered with its text, finish reason and usage', async () => {
  const { data, request_id } = await client.chat.completions.create({ model: 'm', messages }).withResponse()
  expect(data.choices[0]?.message.content).toMatch(spoken)
  expect(data.choices[0]?.finish_reason).toBe('stop')
  expect(data.usage?.total_tokens).toBe((data.usage?.prompt_tokens ?? 0) + (data.usage?.completion_tokens ?? 0))
  expect(request_id).toMatch(/^req_/)
})

test('a streamed chat says the same, chunk by chunk, without a usage chunk that was not asked for', async () => {
  const stream = await client.chat.completions.create({ model: 'm', messages, stream: true })
  let text = ''
  let last: string | null | undefined
  for await (const chunk of stream) {
    expect(chunk.choices).toHaveLength(1)
    text += chunk.choices[0]?.delta.content ?? ''
    last = chunk.choices[0]?.finish_reason
  }
  expect(text).toMatch(spoken)
  expect(last).toBe('stop')
})

test('a stream that was asked for usage ends with it', async () => {
  const stream = await client.chat.completions.create({
    model: 'm',
    messages,
    user: 'reasoning',
    stream: true,
    stream_options: { include_usage: true },
  })
  const chunks = await Array.fromAsync(stream)
  const last = chunks.at(-1)
  expect(last?.choices).toEqual([])
  expect(last?.usage).toMatchObject({
    prompt_tokens: 1_000,
    prompt_tokens_details: { cached_tokens: 900 },
    completion_tokens_details: { reasoning_tokens: 32 },
  })
  expect(chunks.slice(0, -1).every(chunk => chunk.usage === null)).toBe(true)
})

test("the SDK's own stream accumulator makes a whole answer of it", async () => {
  const runner = client.chat.completions.stream({ model: 'm', messages })
  const whole = await runner.finalChatCompletion()
  expect(whole.choices[0]?.message.content).toMatch(spoken)
})

test('completions work, streamed and not', async () => {
  const whole = await client.completions.create({ model: 'm', prompt: 'once upon', max_tokens: 5 })
  expect(whole.choices[0]?.text.split(/\s+/)).toHaveLength(5)
  expect(whole.choices[0]?.finish_reason).toBe('length')
  const stream = await client.completions.create({ model: 'm', prompt: 'once upon', max_tokens: 5, stream: true })
  let text = ''
  for await (const chunk of stream) text += chunk.choices[0]?.text ?? ''
  expect(text).toBe(whole.choices[0]?.text)
})

test('embeddings come as numbers, whether they travelled as base64 or as floats', async () => {
  const base64 = await client.embeddings.create({ model: 'e', input: ['one', 'two'] })
  const floats = await client.embeddings.create({ model: 'e', input: ['one', 'two'], encoding_format: 'float' })
  expect(base64.data.map(({ embedding }) => embedding.length)).toEqual([16, 16])
  for (const [index, { embedding }] of base64.data.entries()) {
    for (const [at, value] of embedding.entries()) expect(value).toBeCloseTo(floats.data[index]?.embedding[at] ?? 9, 6)
  }
  expect(base64.usage.prompt_tokens).toBe(2)
})

test('the models that the key can call are listed, and each can be retrieved', async () => {
  const names = (await Array.fromAsync(client.models.list())).map(({ id }) => id)
  expect(names).toEqual(['e', 'm'])
  expect(await client.models.retrieve('m')).toMatchObject({ id: 'm', object: 'model', owned_by: expect.any(String) })
})

test('a wrong key is an AuthenticationError and is not tried again', async () => {
  const { client: wrong, sent } = counting('sk-kh-proj-nonsense')
  const error = await failure(wrong.models.list())
  expect(error).toBeInstanceOf(OpenAI.AuthenticationError)
  expect(error).toMatchObject({ status: 401, code: 'invalid_api_key', type: 'invalid_request_error' })
  expect(error.requestID).toMatch(/^req_/)
  expect(sent.requests).toBe(1)
})

test('an unknown model is a NotFoundError with its code and param', async () => {
  const error = await failure(client.chat.completions.create({ model: 'nobody', messages }))
  expect(error).toBeInstanceOf(OpenAI.NotFoundError)
  expect(error).toMatchObject({ status: 404, code: 'model_not_found', param: 'model' })
})

test('a wrong parameter is a BadRequestError that names it', async () => {
  const error = await failure(client.chat.completions.create({ model: 'm', messages, max_tokens: -1 }))
  expect(error).toBeInstanceOf(OpenAI.BadRequestError)
  expect(error).toMatchObject({ status: 400, param: 'max_tokens', code: 'integer_below_min_value' })
})

test('a key without the scope is an AuthenticationError that names the scope', async () => {
  const { value } = await gateway.newKey({ scopes: ['api.model.read'] })
  const error = await failure(clientFor(value).chat.completions.create({ model: 'm', messages }))
  expect(error).toBeInstanceOf(OpenAI.AuthenticationError)
  expect(error.message).toContain('model.request')
})

test('a provider that keeps failing is an InternalServerError after the two retries of the SDK', async () => {
  const { client: patient, sent } = counting()
  const error = await failure(patient.chat.completions.create({ model: 'm', messages, user: 'always 500' }))
  expect(error).toBeInstanceOf(OpenAI.InternalServerError)
  expect(error).toMatchObject({ status: 502, code: 'upstream_error' })
  expect(sent.requests).toBe(3)
})

test('a call that the credit does not cover is a RateLimitError, and is not tried again', async () => {
  const { client: poor, sent } = counting()
  const error = await failure(poor.chat.completions.create({ model: 'm', messages, max_tokens: 1_000_000 }))
  expect(error).toBeInstanceOf(OpenAI.RateLimitError)
  expect(error).toMatchObject({ status: 429, code: 'credit_balance_exhausted', type: 'insufficient_quota' })
  expect(sent.requests).toBe(1)
})

test('the wait that a provider asks for reaches the SDK, which keeps it', async () => {
  const { client: patient, sent } = counting()
  const startedAtMs = performance.now()
  const error = await failure(
    patient.chat.completions.create({ model: 'm', messages, user: 'busy' }, { maxRetries: 1 }),
  )
  expect(error).toBeInstanceOf(OpenAI.RateLimitError)
  expect(error.headers?.get('retry-after')).toBe('1')
  expect(sent.requests).toBe(2)
  // Without the header the SDK would come back after half a second at most
  expect(performance.now() - startedAtMs).toBeGreaterThan(990)
})

test('a stream that the provider cut raises an APIError instead of ending as if it were whole', async () => {
  const stream = await client.chat.completions.create({ model: 'm', messages, user: 'cut', stream: true })
  let chunks = 0
  const error = await failure(
    (async () => {
      for await (const _ of stream) chunks += 1
    })(),
  )
  expect(error).toBeInstanceOf(OpenAI.APIError)
  expect(error).toMatchObject({ code: 'stream_cut' })
  expect(chunks).toBeGreaterThan(5)
})

test('leaving a stream cancels the call to the provider', async () => {
  const stream = await client.chat.completions.create({ model: 'm', messages, user: 'long', stream: true })
  let chunks = 0
  for await (const _ of stream) {
    chunks += 1
    if (chunks === 5) break
  }
  await expect.poll(() => gateway.upstream.requests.at(-1)?.clientLeftAtMs, { timeout: 2_000 }).toBeTypeOf('number')
})
