/** What providers say of their calls, from the bytes of their answers to what is charged, and the same again from the books. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Books } from './support/books.ts'
import { type Body, chatBody, startGateway, type TestGateway } from './support/gateway.ts'
import { expectRefusal } from './support/refusals.ts'
import { type ScriptedUpstream, startScriptedUpstream } from './support/scripted-upstream.ts'

let gateway: TestGateway
let scripted: ScriptedUpstream
let books: Books

const price = {
  input_usd_per_million: '2',
  cached_input_usd_per_million: '0.2',
  output_usd_per_million: '10',
  rates: { cache_write: '2.5', audio_input: '32', audio_output: '64' },
  calls: { web_search: '0.01' },
  long_context: [{ above_input_tokens: 10_000, rates: { input: '4', cached_input: '0.4', output: '15' } }],
  service_tier_percents: { flex: '50', priority: '200' },
}

beforeAll(async () => {
  scripted = await startScriptedUpstream()
  gateway = await startGateway()
  await gateway.admin('POST', '/v1/platform/providers', {
    name: 'scripted',
    base_url: `${scripted.url}/v1`,
    models: [{ name: 's', kind: 'chat', input_usd_per_million: '1', output_usd_per_million: '1' }],
  })
  await gateway.admin('POST', '/v1/platform/models/s/price', price)
  await sleep(heardMs)
  books = await Books.open(gateway.keyhouse.dataDir)
})
const heardMs = 500

afterAll(async () => {
  await books?.close()
  await gateway?.stop()
  await scripted?.stop()
})

const answer = (usage: object, more: object = {}): string =>
  JSON.stringify({
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 1,
    model: 's',
    choices: [
      { index: 0, message: { role: 'assistant', content: '"service_tier":"priority"' }, finish_reason: 'stop' },
    ],
    usage,
    ...more,
  })

const stream = (usage: object, more: object = {}): string[] => {
  const chunk = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 's', ...more }
  const event = (rest: object): string => `data: ${JSON.stringify({ ...chunk, ...rest })}\n\n`
  return [
    event({ choices: [{ index: 0, delta: { role: 'assistant', content: 'Hi' } }], usage: null }),
    event({ choices: [], usage }),
    'data: [DONE]\n\n',
  ]
}

let calls = 0

/** One call whose provider answers so, and its row in the books. */
async function charge(
  usage: object,
  { more = {}, body = {}, streams = false }: { more?: object; body?: Body; streams?: boolean },
) {
  const user = `call ${++calls}`
  scripted.scripts.set(
    user,
    streams ? { contentType: 'text/event-stream', pieces: stream(usage, more) } : { pieces: [answer(usage, more)] },
  )
  const response = await gateway.post('/v1/chat/completions', chatBody(user, { model: 's', stream: streams, ...body }))
  expect(response.status).toBe(200)
  await response.text()
  return books.usageOf(response.headers.get('x-request-id'))
}

const plain = { prompt_tokens: 1_000, completion_tokens: 100, total_tokens: 1_100 }
const longest = { max_tokens: 1_000, messages: [{ role: 'user', content: 'x'.repeat(30_000) }] }

describe.each([
  ['whole', false],
  ['streamed', true],
])('an answer that comes %s', (_how, streams) => {
  test.each([
    ['in the default tier', plain, {}, 3_000_000n, null],
    ['as flex', plain, { service_tier: 'flex' }, 1_500_000n, 'flex'],
    ['as priority', plain, { service_tier: 'priority' }, 6_000_000n, 'priority'],
    ['as scale, which is the default', plain, { service_tier: 'scale' }, 3_000_000n, null],
    [
      'with a cache read and written',
      { ...plain, prompt_tokens_details: { cached_tokens: 600, cache_write_tokens: 300 } },
      {},
      2_070_000n,
      null,
    ],
    [
      'with audio',
      { ...plain, prompt_tokens_details: { audio_tokens: 500 }, completion_tokens_details: { audio_tokens: 50 } },
      {},
      20_700_000n,
      null,
    ],
    [
      'with searches',
      { ...plain, server_tool_use: { web_search_requests: 3 } },
      { service_tier: 'flex' },
      31_500_000n,
      'flex',
    ],
    ['beyond the threshold', { prompt_tokens: 10_001, completion_tokens: 10 }, {}, 40_154_000n, null],
  ])('%s costs what the price says', async (_what, usage, more, nanoUsd, tier) => {
    const row = await charge(usage, { more, streams, body: longest })
    expect(row.charged_nano_usd + row.overrun_nano_usd).toBe(nanoUsd)
    expect(row.overrun_nano_usd).toBe(0n)
    expect(row).toMatchObject({ service_tier: tier, estimated: false })
  })
})

describe('a service tier that is asked for', () => {
  test.each(['auto', 'default', 'flex', 'scale', 'priority', 'fast'])('as %s is passed on', async tier => {
    await charge(plain, { body: { service_tier: tier } })
    expect(scripted.bodies.at(-1)?.service_tier).toBe(tier)
  })

  test('that nobody knows is refused as OpenAI does', async () => {
    const refused = await gateway.post('/v1/chat/completions', chatBody('x', { model: 's', service_tier: 'cheap' }))
    const { message } = await expectRefusal(refused, {
      status: 400,
      type: 'invalid_request_error',
      code: 'invalid_value',
      param: 'service_tier',
    })
    expect(message).toBe(
      "Invalid value: 'cheap'. Supported values are: 'auto', 'default', 'flex', 'scale', 'priority', and 'fast'.",
    )
  })

  test('is what is charged where the answer broke off before it said in which it was served', async () => {
    const user = `call ${++calls}`
    const chunk = { id: 'x', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: 'Hi' } }] }
    const pieces = Array.from({ length: 20 }, () => `data: ${JSON.stringify(chunk)}\n\n`)
    scripted.scripts.set(user, { contentType: 'text/event-stream', pieces })
    const asked = chatBody(user, { model: 's', stream: true, service_tier: 'priority' })
    const response = await gateway.post('/v1/chat/completions', asked)
    await response.text()
    const row = await books.usageOf(response.headers.get('x-request-id'))
    expect(row).toMatchObject({ outcome: 'upstream_cut', estimated: true, service_tier: 'priority' })
  })

  test('cannot be said twice, once for us and once for the provider', async () => {
    const user = `call ${++calls}`
    scripted.scripts.set(user, { pieces: [answer(plain)] })
    const twice = JSON.stringify(chatBody(user, { model: 's', service_tier: 'priority' })).replace(
      '"service_tier"',
      '"service_tier":"flex","service_tier"',
    )
    const raw = twice.replace('"service_tier":"priority"', '"service_tier":"default"')
    expect((await gateway.post('/v1/chat/completions', raw)).status).toBe(200)
    expect(scripted.bodies.at(-1)?.service_tier).toBe('default')
  })
})

test.each([
  ['image_url', { image_url: { url: 'https://example.com/large.png' } }],
  ['file', { file: { file_id: 'file-1' } }],
])('a link to an image costs what the provider says, and nobody else pays for it: %s', async (type, link) => {
  const messages = [
    {
      role: 'user',
      content: [
        { type: 'text', text: 'What is this?' },
        { type, ...link },
      ],
    },
  ]
  const row = await charge({ prompt_tokens: 36_000, completion_tokens: 10 }, { body: { messages, max_tokens: 10 } })
  expect(row).toMatchObject({ charged_nano_usd: 144_150_000n, overrun_nano_usd: 0n })
})

test('a dry run says what is held, for text no more than its bytes, and is never taken for a call', async () => {
  const text = JSON.stringify(chatBody('dry', { messages: [{ role: 'user', content: [{ type: 'text', text: 'x' }] }] }))
  const asked = (said: string) =>
    gateway.post('/v1/chat/completions', text, { headers: { 'x-keyhouse-dry-run': said } })
  expect(await (await asked('true')).json()).toMatchObject({ input_tokens_max: text.length + 64 })
  const before = gateway.upstream.requestCount()
  const { message } = await expectRefusal(await asked('1'), { status: 400, code: 'invalid_value' })
  expect(message).toContain('Nothing was sent')
  expect(gateway.upstream.requestCount()).toBe(before)
})

test('a bound that is cut to what is left is cut in each member that says it', async () => {
  const { value } = await gateway.newKey({ budget: { limit_usd: '0.10', period: 'total' } })
  const user = `call ${++calls}`
  scripted.scripts.set(user, { pieces: [answer(plain)] })
  const asked = chatBody(user, { model: 's', max_tokens: 20_000, max_completion_tokens: 20_000 })
  const response = await gateway.post('/v1/chat/completions', asked, { headers: { authorization: `Bearer ${value}` } })
  const most = Number(response.headers.get('x-keyhouse-max-tokens-clamped-to'))
  expect(most).toBeGreaterThan(0)
  expect(most).toBeLessThan(2_000)
  expect(scripted.bodies.at(-1)).toMatchObject({ max_tokens: most, max_completion_tokens: most })
})

test('all of it is computed again from the books to the same amounts', async () => {
  const all = await gateway.admin<{
    count: number
    difference_count: number
    charged_usd: string
    recomputed_usd: string
  }>('GET', '/v1/platform/usage_recompute')
  expect(all.count).toBeGreaterThan(20)
  expect(all).toMatchObject({ difference_count: 0, recomputed_usd: all.charged_usd })
  await books.query('update usage_events set output_tokens = output_tokens + 1 where service_tier = $1', ['flex'])
  const tampered = await gateway.admin<{ difference_count: number }>('GET', '/v1/platform/usage_recompute')
  expect(tampered.difference_count).toBe(4)
})
