/** What a call costs, and that no interleaving of calls, failures and lies of a provider can spend what is not there. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Behaviour } from '../src/providers/fake/behaviour.ts'
import { Books } from './support/books.ts'
import { type Body, chatBody, startGateway, type TestGateway } from './support/gateway.ts'
import { expectRefusal } from './support/refusals.ts'
import { type ScriptedUpstream, startScriptedUpstream } from './support/scripted-upstream.ts'
import { readAll } from './support/streams.ts'

let gateway: TestGateway
let scripted: ScriptedUpstream
let books: Books
/** For the seed of the mixed load. */
const seed = Number(process.env.KEYHOUSE_SEED ?? Date.now() % 1_000_000)

const nanoPerInput = 3_000n
const nanoPerCached = 1_000n
const nanoPerOutput = 15_000n
const outputTokensMax = 100
/** Tokens that a chat template may add to the bytes of a body. */
const templateTokens = 64
/** Usage is in the database after this. */
const deliveryMs = 300

/** A call whose hold is known to the nano-dollar: every byte of its body can be a token. */
const body = (user: string, more: Body = {}): string =>
  JSON.stringify(chatBody(user, { max_tokens: outputTokensMax, ...more }))
const inputTokensMax = (text: string): number => Buffer.byteLength(text) + templateTokens
const holdFor = (text: string): bigint =>
  BigInt(inputTokensMax(text)) * nanoPerInput + BigInt(outputTokensMax) * nanoPerOutput

const callsCovered = 7
const slow = body('slow')
const spendsAll = body('spends all')
const usd = (nano: bigint): string => `${nano / 10n ** 9n}.${String(nano % 10n ** 9n).padStart(9, '0')}`

beforeAll(async () => {
  scripted = await startScriptedUpstream()
  const cases: Record<string, Partial<Behaviour>> = {
    // Longer than it takes to ask for all of them, on a machine that has other work
    slow: { latencyMs: 3_000, outputTokens: 5 },
    'spends all': { promptTokens: inputTokensMax(spendsAll), outputTokens: outputTokensMax },
    cached: { promptTokens: 1_000, cachedTokens: 900, outputTokens: 10 },
    reasoning: { promptTokens: 50, reasoningTokens: 40, outputTokens: 10 },
    plain: { promptTokens: 17, outputTokens: 9 },
    spaced: { promptTokens: 17, outputTokens: 9, usageShape: 'spaced' },
    'with-choices': { promptTokens: 17, outputTokens: 9, usageShape: 'with-choices' },
    'every-chunk': { promptTokens: 17, outputTokens: 9, usageShape: 'every-chunk' },
    absent: { promptTokens: 17, outputTokens: 9, usageShape: 'absent' },
    beyond: { promptTokens: 1_000_000, outputTokens: 10 },
    odd: { promptTokens: 7, outputTokens: 3 },
    'mixed whole': { latencyMs: 20, outputTokens: 30 },
    'mixed long': { outputTokens: 300, chunkIntervalMs: 10 },
    'mixed cut': { fault: 'cut', outputTokens: 30 },
    'mixed truncated': { fault: 'truncate', outputTokens: 30 },
    'mixed 500': { fault: 'status', status: 500 },
    'mixed 429': { fault: 'status', status: 429 },
    'mixed reset': { fault: 'reset' },
    'mixed hang': { fault: 'hang' },
    'mixed malformed': { fault: 'malformed' },
  }
  gateway = await startGateway({
    cases,
    settings: {
      'first-credit-usd': usd(BigInt(callsCovered) * holdFor(slow)),
      'upstream-answer-timeout-ms': '4000',
    },
  })
  await gateway.admin('POST', '/v1/platform/providers', {
    name: 'scripted',
    base_url: `${scripted.url}/v1`,
    models: [{ name: 's', kind: 'chat', input_usd_per_million: '3', output_usd_per_million: '15' }],
  })
  await gateway.admin('POST', '/v1/platform/providers', {
    name: 'odd',
    base_url: `${gateway.upstream.url}/v1`,
    models: [
      // 0.333 and 0.777 nano-dollars a token: smaller than money gets
      { name: 'odd', kind: 'chat', input_usd_per_million: '0.000333', output_usd_per_million: '0.000777' },
      { name: 'unpriced', kind: 'chat' },
    ],
  })
  books = await Books.open(gateway.keyhouse.dataDir)
})

afterAll(async () => {
  await books.close()
  await gateway.stop()
  await scripted.stop()
})

const send = (text: string, init?: RequestInit): Promise<Response> => gateway.post('/v1/chat/completions', text, init)

async function grant(nano: bigint): Promise<void> {
  await gateway.admin('POST', '/v1/organization/credit_grants', { amount_usd: usd(nano) })
}

describe('the last dollars', () => {
  test('of many calls at once, exactly those are admitted whose most possible cost is covered', async () => {
    const answers = await Promise.all(Array.from({ length: 40 }, () => send(slow)))
    const refused = answers.filter(({ status }) => status !== 200)
    expect(answers.length - refused.length).toBe(callsCovered)
    for (const response of refused) {
      expect(response.headers.get('x-should-retry')).toBe('false')
      expect(response.headers.get('retry-after')).toBeNull()
      const { message } = await expectRefusal(response, {
        status: 429,
        code: 'credit_balance_exhausted',
        type: 'insufficient_quota',
      })
      expect(message).toContain('Lower max_tokens, or ask an owner to add credit')
    }
    for (const response of answers) if (response.status === 200) await response.json()
    const { charged } = await books.expectBalanced()
    expect(charged).toBeLessThan(BigInt(callsCovered) * holdFor(slow))
  })

  test('when every call spends all that was held for it, exactly as many fit as the balance covers', async () => {
    const { credit } = await books.totals()
    const fit = credit / holdFor(spendsAll) + 5n
    await grant(fit * holdFor(spendsAll) - credit)
    let admitted = 0n
    for (let wave = 0; wave < 4; wave += 1) {
      const answers = await Promise.all(Array.from({ length: 12 }, () => send(spendsAll)))
      admitted += BigInt(answers.filter(({ status }) => status === 200).length)
      for (const response of answers) await response.json()
    }
    expect(admitted).toBe(fit)
    expect((await books.expectBalanced()).credit).toBe(0n)
    const balance = await gateway.admin<{ available_usd: string; reserved_usd: string }>(
      'GET',
      '/v1/organization/credit_balance',
    )
    expect(balance).toMatchObject({ available_usd: '0.00', reserved_usd: '0.00' })
  })

  test('credit that was added counts at once', async () => {
    await expectRefusal(await send(spendsAll), { status: 429, code: 'credit_balance_exhausted' })
    await grant(10n ** 9n * 500n)
    expect((await send(spendsAll)).status).toBe(200)
  })
})

describe('what a call costs', () => {
  const usageAfter = async (response: Response) => {
    expect(response.status).toBe(200)
    await readAll(response)
    return books.usageOf(response.headers.get('x-request-id'))
  }

  test.each<[user: string, tokens: { input: number; cached: number; output: number; reasoning: number }]>([
    ['plain', { input: 17, cached: 0, output: 9, reasoning: 0 }],
    ['cached', { input: 1_000, cached: 900, output: 10, reasoning: 0 }],
    ['reasoning', { input: 50, cached: 0, output: 50, reasoning: 40 }],
    ['spaced', { input: 17, cached: 0, output: 9, reasoning: 0 }],
    ['with-choices', { input: 17, cached: 0, output: 9, reasoning: 0 }],
    ['every-chunk', { input: 17, cached: 0, output: 9, reasoning: 0 }],
  ])('is its tokens times their prices, to the nano-dollar: %s, whole and streamed', async (user, tokens) => {
    const { input, cached, output, reasoning } = tokens
    const cost = BigInt(input - cached) * nanoPerInput + BigInt(cached) * nanoPerCached + BigInt(output) * nanoPerOutput
    // Room enough, so that nothing is beyond what was held
    const long = { messages: [{ role: 'user', content: 'x'.repeat(1_000) }] }
    for (const more of [
      long,
      { ...long, stream: true },
      { ...long, stream: true, stream_options: { include_usage: true } },
    ]) {
      expect(await usageAfter(await send(body(user, more)))).toMatchObject({
        outcome: 'complete',
        estimated: false,
        input_tokens: input,
        cached_input_tokens: cached,
        output_tokens: output,
        reasoning_tokens: reasoning,
        charged_nano_usd: cost,
        overrun_nano_usd: 0n,
      })
    }
  })

  test('is rounded up once, where a token costs less than the smallest amount', async () => {
    // 7 × 0.333 + 3 × 0.777 = 4.662
    expect(await usageAfter(await send(body('odd', { model: 'odd' })))).toMatchObject({ charged_nano_usd: 5n })
  })

  test('is for embeddings their input alone', async () => {
    const response = await gateway.post('/v1/embeddings', { model: 'e', input: ['one two', 'three'] })
    expect(await usageAfter(response)).toMatchObject({
      endpoint: 'embeddings',
      input_tokens: 3,
      output_tokens: 0,
      charged_nano_usd: 300n,
    })
  })

  test('is an estimate, marked as one, where the provider tells no numbers', async () => {
    for (const more of [{}, { stream: true }]) {
      const row = await usageAfter(await send(body('absent', more)))
      expect(row).toMatchObject({ estimated: true, overrun_nano_usd: 0n })
      expect(row.input_tokens).toBeGreaterThan(20)
      expect(row.output_tokens).toBeGreaterThanOrEqual(9)
      expect(row.charged_nano_usd).toBeGreaterThan(0n)
    }
  })

  test('is about what came, where a stream tells no numbers: its frame is no text', async () => {
    const row = await usageAfter(await send(body('absent', { stream: true })))
    expect(row.output_tokens).toBeLessThan(outputTokensMax / 2)
  })

  test('is never more than was held: what the provider tells beyond it is borne by the platform', async () => {
    const before = await books.totals()
    const text = body('beyond')
    const row = await usageAfter(await send(text))
    const cost = 1_000_000n * nanoPerInput + 10n * nanoPerOutput
    expect(row.charged_nano_usd).toBe(holdFor(text))
    expect(row.overrun_nano_usd).toBe(cost - holdFor(text))
    const after = await books.expectBalanced()
    expect(after.overrun - before.overrun).toBe(cost - holdFor(text))
  })

  test('a model without a price is refused, not free', async () => {
    const before = gateway.upstream.requestCount()
    const { message } = await expectRefusal(await send(body('plain', { model: 'unpriced' })), {
      status: 400,
      code: 'model_price_missing',
      param: 'model',
    })
    expect(message).toContain('keyhouse prices set')
    expect(gateway.upstream.requestCount()).toBe(before)
  })

  test('is shown by the usage and the costs endpoints within a second', async () => {
    type Page<Result> = { data: { results: Result[] }[] }
    const sum = async <Result>(path: string, of: (result: Result) => number): Promise<number> => {
      const { data } = await gateway.admin<Page<Result>>('GET', `/v1/organization/${path}start_time=${startTime}`)
      return data.flatMap(({ results }) => results).reduce((total, result) => total + of(result), 0)
    }
    const startTime = Math.floor(Date.now() / 1_000) - 86_400
    const requests = () =>
      sum('usage/completions?models=m&', (result: { num_model_requests: number }) => result.num_model_requests)
    const dollars = () => sum('costs?', (result: { amount: { value: number } }) => result.amount.value)
    const [requestsBefore, dollarsBefore] = [await requests(), await dollars()]
    const startedAtMs = performance.now()
    await (await send(body('plain'))).json()
    await expect.poll(requests, { interval: 25, timeout: 1_000 }).toBe(requestsBefore + 1)
    expect(performance.now() - startedAtMs).toBeLessThan(1_000)
    const cost = Number(17n * nanoPerInput + 9n * nanoPerOutput) / 1e9
    expect((await dollars()) - dollarsBefore).toBeCloseTo(cost, 9)
  })
})

describe('what would cost more than it says', () => {
  type DryRun = { readonly input_tokens_max: number; readonly output_tokens_max: number }
  const heldFor = async (more: Body): Promise<DryRun> => {
    const response = await send(body('plain', more), { headers: { 'x-keyhouse-dry-run': 'true' } })
    expect(response.status).toBe(200)
    // As dry-run.ts writes it
    return (await response.json()) as DryRun
  }

  test('a predicted answer is held for beside the bound: what does not come true of it is charged as output', async () => {
    const prediction = { type: 'content', content: 'word '.repeat(600) }
    const predicted = Buffer.byteLength(JSON.stringify(prediction))
    expect((await heldFor({ prediction })).output_tokens_max).toBe(outputTokensMax + predicted)
    const usage = { prompt_tokens: 700, completion_tokens: 650, total_tokens: 1_350 }
    scripted.scripts.set('predicted', { pieces: [JSON.stringify({ id: 'x', choices: [], usage })] })
    const response = await send(body('predicted', { model: 's', prediction }))
    const row = await books.usageOf(response.headers.get('x-request-id'))
    expect(row).toMatchObject({ output_tokens: 650, overrun_nano_usd: 0n })
    expect(scripted.bodies.at(-1)).toMatchObject({ max_tokens: outputTokensMax, prediction })
  })

  test('what a provider tells a model of how tools are called is held for', async () => {
    const tools = [{ type: 'function', function: { name: 'f' } }]
    const without = (await heldFor({ slot: JSON.stringify(tools) })).input_tokens_max
    expect((await heldFor({ tools })).input_tokens_max).toBeGreaterThan(without + 700)
  })

  test('answers that are made and thrown away are held for', async () => {
    expect((await heldFor({ best_of: 20, n: 2 })).output_tokens_max).toBe(20 * outputTokensMax)
  })

  test('a sound that the provider has kept is held for as an attachment', async () => {
    const messages = [
      { role: 'assistant', audio: { id: 'audio_1' } },
      { role: 'user', content: 'again' },
    ]
    expect((await heldFor({ messages })).input_tokens_max).toBeGreaterThan(50_000)
  })

  test.each(['models', 'fallbacks', 'model_list', 'preset', 'api_base', 'base_url', 'api_key'])(
    'a request cannot choose with %s what nobody has priced, nor send our credential elsewhere',
    async member => {
      const before = gateway.upstream.requestCount()
      await expectRefusal(await send(body('plain', { [member]: ['dear'] })), { status: 400, param: member })
      await expectRefusal(await send(body('plain', { [member.toUpperCase()]: ['dear'] })), { status: 400 })
      expect(gateway.upstream.requestCount()).toBe(before)
    },
  )

  test.each([
    { kind: 'whole', contentType: 'application/json', pieces: (failure: string) => [failure] },
    {
      kind: 'streamed',
      contentType: 'text/event-stream',
      pieces: (failure: string) => [`data: ${failure.slice(0, 9)}`, `${failure.slice(9)}\n\n`, 'data: [DONE]\n\n'],
    },
  ])(
    'a $kind failure that calls itself 200 costs nothing, and is told as one',
    async ({ kind, contentType, pieces }) => {
      const failure = JSON.stringify({ error: { message: 'no capacity', code: 503 } })
      scripted.scripts.set('fails as 200', { contentType, pieces: pieces(failure), gapMs: 10 })
      const response = await send(body('fails as 200', { model: 's', stream: kind === 'streamed' }))
      await expectRefusal(response, { status: 502, code: 'upstream_error' })
      await sleep(deliveryMs)
      const requestId = response.headers.get('x-request-id')
      expect(await books.query('select from usage_events where request_id = $1', [requestId])).toEqual([])
    },
  )

  test('an answer that is a list costs nothing, and is told as none', async () => {
    scripted.scripts.set('a list', { pieces: ['[1,2,3]'] })
    await expectRefusal(await send(body('a list', { model: 's' })), { status: 502, code: 'upstream_invalid' })
  })

  test('a stream in which the provider gives up is charged for what came before, also where it says [DONE]', async () => {
    const chunk = {
      id: 'chatcmpl-1',
      model: 's',
      choices: [{ index: 0, delta: { content: 'word' }, finish_reason: null }],
    }
    const events = [chunk, chunk, chunk, { error: { message: 'overloaded' } }].map(
      event => `data: ${JSON.stringify(event)}\n\n`,
    )
    for (const end of [[], ['data: [DONE]\n\n']]) {
      scripted.scripts.set('gives up', { contentType: 'text/event-stream', pieces: [...events, ...end] })
      const response = await send(body('gives up', { model: 's', stream: true }))
      const { text } = await readAll(response)
      expect(text).toBe(events.join(''))
      const row = await books.usageOf(response.headers.get('x-request-id'))
      expect(row).toMatchObject({ outcome: 'upstream_cut', estimated: true })
      expect(row.output_tokens).toBeLessThanOrEqual(3)
    }
  })

  test('a key that is revoked while its answer is made pays for what was asked of the provider', async () => {
    const key = await gateway.newKey()
    const before = gateway.upstream.requestCount()
    const call = send(slow, { headers: { authorization: `Bearer ${key.value}` } })
    await expect.poll(() => gateway.upstream.requestCount()).toBe(before + 1)
    await gateway.admin('DELETE', key.path)
    const response = await call
    await expectRefusal(response, { status: 401 })
    const row = await books.usageOf(response.headers.get('x-request-id'))
    expect(row).toMatchObject({ outcome: 'revoked', estimated: true, overrun_nano_usd: 0n })
    expect(row.charged_nano_usd).toBeGreaterThan(0n)
  })
})

describe('usage that cannot be believed', () => {
  const choices = [{ index: 0, message: { role: 'assistant', content: 'four words of text' }, finish_reason: 'stop' }]
  const lies: [what: string, usage: unknown][] = [
    ['negative input', { prompt_tokens: -5, completion_tokens: 7, total_tokens: 2 }],
    ['negative output', { prompt_tokens: 5, completion_tokens: -7, total_tokens: -2 }],
    ['negative output and no total', { prompt_tokens: 5, completion_tokens: -7 }],
    ['text for input', { prompt_tokens: '5', completion_tokens: 7, total_tokens: 12 }],
    ['text for output', { prompt_tokens: 5, completion_tokens: '7', total_tokens: 12 }],
    ['no output', { prompt_tokens: 5 }],
    ['fractions', { prompt_tokens: 5.5, completion_tokens: 7, total_tokens: 12.5 }],
    ['more than there are atoms', { prompt_tokens: 1e300, completion_tokens: 7, total_tokens: 1e300 }],
    ['no sign, and the most that has none', { prompt_tokens: 2 ** 31 - 1, completion_tokens: 2 ** 31 - 1 }],
    ['beyond 32 bits', { prompt_tokens: 5, completion_tokens: 2 ** 40, total_tokens: 2 ** 40 + 5 }],
    ['null', { prompt_tokens: null, completion_tokens: null }],
    ['lists', { prompt_tokens: [5], completion_tokens: [7] }],
    ['nothing in it', {}],
    ['text', 'five'],
    ['a list', [5, 7]],
  ]

  test.each(lies)('%s: the call is charged by an estimate, and no more than was held', async (_, usage) => {
    scripted.scripts.set('lie', { pieces: [JSON.stringify({ id: 'x', choices, usage })] })
    const chunk = { id: 'x', choices: [{ index: 0, delta: { content: 'four words of text' } }] }
    const events = [chunk, chunk, { id: 'x', choices: [], usage }].map(event => `data: ${JSON.stringify(event)}\n\n`)
    scripted.scripts.set('lie streamed', { contentType: 'text/event-stream', pieces: [...events, 'data: [DONE]\n\n'] })
    for (const [user, more] of [
      ['lie', {}],
      ['lie streamed', { stream: true }],
    ] as const) {
      const text = body(user, { model: 's', ...more })
      const response = await send(text)
      expect(response.status).toBe(200)
      await readAll(response)
      const row = await books.usageOf(response.headers.get('x-request-id'))
      expect(row, user).toMatchObject({ estimated: true, overrun_nano_usd: 0n })
      expect(row.output_tokens, user).toBeGreaterThan(0)
      expect(row.charged_nano_usd).toBeLessThanOrEqual(holdFor(text))
    }
  })

  test('cached and reasoning tokens beyond the whole count as the whole', async () => {
    const usage = {
      prompt_tokens: 5,
      completion_tokens: 7,
      total_tokens: 12,
      prompt_tokens_details: { cached_tokens: 900 },
      completion_tokens_details: { reasoning_tokens: 900 },
    }
    scripted.scripts.set('details', { pieces: [JSON.stringify({ id: 'x', choices, usage })] })
    const response = await send(body('details', { model: 's' }))
    const row = await books.usageOf(response.headers.get('x-request-id'))
    expect(row).toMatchObject({ input_tokens: 5, cached_input_tokens: 5, output_tokens: 7, reasoning_tokens: 7 })
  })
})

test(`after a mix of whole answers, aborts, time-outs and failures nothing stays held (seed ${seed})`, async () => {
  const chance = randomFrom(seed)
  const users = ['whole', 'long', 'cut', 'truncated', '500', '429', 'reset', 'hang', 'malformed'].map(
    name => `mixed ${name}`,
  )
  const outcomes = new Map<string, number>()
  const one = async (): Promise<void> => {
    const user = users[Math.floor(chance() * users.length)] ?? ''
    const leavesAfterMs = chance() < 0.3 ? Math.round(5 + chance() * 150) : 15_000
    const init = { signal: AbortSignal.timeout(leavesAfterMs) }
    const outcome = await send(body(user, { stream: chance() < 0.5 }), init).then(
      async response => {
        const { broken } = await readAll(response)
        return broken ? 'left' : String(response.status)
      },
      () => 'left',
    )
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  }
  const callers = Array.from({ length: 20 }, async () => {
    for (let turn = 0; turn < 15; turn += 1) await one()
  })
  await Promise.all(callers)
  await sleep(50)
  const { charged, granted } = await books.expectBalanced()
  const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
  expect(metrics).toMatch(/^keyhouse_calls_active 0$/m)
  console.log(`mixed load: ${JSON.stringify(Object.fromEntries(outcomes))}; ${usd(charged)} of ${usd(granted)} spent`)
  for (const outcome of ['200', 'left', '502', '504', '429']) expect(outcomes.get(outcome), outcome).toBeGreaterThan(0)
})

/** Numbers in [0, 1) that follow from the seed (mulberry32). */
function randomFrom(start: number): () => number {
  let state = start
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
