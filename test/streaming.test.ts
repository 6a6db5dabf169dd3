/** Streams from the provider through Keyhouse to the client: the bytes, the pace, and every way to break off. */
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Behaviour } from '../src/providers/fake/behaviour.ts'
import { type FakeUpstream, startFakeUpstream } from '../src/providers/fake/upstream.ts'
import { Books } from './support/books.ts'
import { type Body, chatBody, startGateway, type TestGateway } from './support/gateway.ts'
import { expectRefusal } from './support/refusals.ts'
import { type ScriptedUpstream, startScriptedUpstream } from './support/scripted-upstream.ts'
import { type ChunkObject, dataOf, eventsOf, readAll, readUntil, wholeEvents } from './support/streams.ts'

let gateway: TestGateway
let scripted: ScriptedUpstream
/** The first of two providers of the model `f`; behaves as `broken` says. */
let first: FakeUpstream
let broken: Partial<Behaviour> = {}
let books: Books

const answerTimeoutMs = 600
const silenceTimeoutMs = 600
/** Usage is in the database after this. */
const deliveryMs = 300
/** How long a whole answer is waited for when its client has left. */
const clientLeftMs = 400
/** undici looks at its clocks about once a second. */
const clockMs = 1_500

beforeAll(async () => {
  scripted = await startScriptedUpstream()
  first = await startFakeUpstream({ behaviour: () => broken })
  gateway = await startGateway({
    settings: {
      'upstream-answer-timeout-ms': String(answerTimeoutMs),
      'upstream-silence-timeout-ms': String(silenceTimeoutMs),
      'first-credit-usd': '1000',
      'client-left-ms': String(clientLeftMs),
    },
    cases: {
      'one byte a write': { splitBytes: 1, outputTokens: 20 },
      'seven bytes a write': { splitBytes: 7, outputTokens: 20 },
      'a thousand bytes a write': { splitBytes: 1_000, outputTokens: 200 },
      'spaces and CRLF': { usageShape: 'spaced', splitBytes: 11, outputTokens: 20 },
      'usage with the last choice': { usageShape: 'with-choices', splitBytes: 13, outputTokens: 20 },
      'usage on every chunk': { usageShape: 'every-chunk', splitBytes: 17, outputTokens: 20 },
      'no usage at all': { usageShape: 'absent', splitBytes: 5, outputTokens: 20 },
      long: { outputTokens: 500, chunkIntervalMs: 20, promptTokens: 7 },
      'long with totals': { outputTokens: 500, chunkIntervalMs: 20, promptTokens: 7, usageShape: 'every-chunk' },
      'thinks, then says little': { outputTokens: 10, chunkIntervalMs: 40, promptTokens: 7, reasoningTokens: 400 },
      'thinks a while': { latencyMs: 500, outputTokens: 10, promptTokens: 7, reasoningTokens: 400 },
      'thinks, then says much': {
        latencyMs: 500,
        outputTokens: 500,
        chunkIntervalMs: 20,
        promptTokens: 7,
        reasoningTokens: 400,
      },
      'says much, late': { latencyMs: 500, outputTokens: 500, chunkIntervalMs: 20, promptTokens: 7 },
      slow: { latencyMs: 250, outputTokens: 9, promptTokens: 7 },
      'much text': { outputTokens: 20_000, chunkText: 'x'.repeat(2_000) },
      cut: { fault: 'cut', outputTokens: 40, faultAfterTokens: 20 },
      truncated: { fault: 'truncate', outputTokens: 40, faultAfterTokens: 20 },
      malformed: { fault: 'malformed', outputTokens: 40, faultAfterTokens: 20 },
      hang: { fault: 'hang' },
      reset: { fault: 'reset' },
      'falls silent': { outputTokens: 3, chunkIntervalMs: 8_000 },
      'refuses before the stream': { fault: 'status', status: 500 },
    },
  })
  await gateway.admin('POST', '/v1/platform/providers', {
    name: 'scripted',
    base_url: `${scripted.url}/v1`,
    models: [{ name: 's', kind: 'chat', input_usd_per_million: '1', output_usd_per_million: '1' }],
  })
  // Each a model of its own, of which nothing is known yet
  await gateway.admin('POST', '/v1/platform/providers', {
    name: 'apart',
    base_url: `${gateway.upstream.url}/v1`,
    models: ['thinker', 'writer', 'quiet'].map(name => ({
      name,
      kind: 'chat',
      input_usd_per_million: '3',
      output_usd_per_million: '15',
    })),
  })
  await gateway.admin('POST', '/v1/platform/providers', { name: 'first', base_url: `${first.url}/v1`, models: [] })
  books = await Books.open(gateway.keyhouse.dataDir)
})

afterAll(async () => {
  await books.close()
  await gateway.stop()
  await Promise.all([scripted.stop(), first.stop()])
})

const stream = (user: string, body: Body = {}, init?: RequestInit): Promise<Response> =>
  gateway.chat(user, { stream: true, max_tokens: 50_000, ...body }, init)
const recordOf = (user: string) => gateway.upstream.requests.findLast(({ body }) => body.includes(`"${user}"`))

const chunk = (text: string): string =>
  `data: ${JSON.stringify({ id: 'c', choices: [{ index: 0, delta: { content: text }, finish_reason: null }] })}\n\n`
const said = [chunk('He'), chunk('llo, "usage":{} and [DONE]'), chunk(' wörld 👋🏽')]
const usage = `data: {"id":"c","choices":[],"usage":{"prompt_tokens":2,"completion_tokens":3,"total_tokens":5}}\n\n`
const done = 'data: [DONE]\n\n'

describe('bytes', () => {
  test.each([
    'one byte a write',
    'seven bytes a write',
    'a thousand bytes a write',
    'spaces and CRLF',
    'usage with the last choice',
    'usage on every chunk',
    'no usage at all',
  ])('%s: a client that asked for usage gets every byte that the provider sent', async user => {
    const body = chatBody(user, { stream: true, max_tokens: 50_000, stream_options: { include_usage: true } })
    const { text } = await readAll(await gateway.post('/v1/chat/completions', body))
    const direct = await fetch(`${gateway.upstream.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify(body),
    })
    expect(text).toBe(await direct.text())
  })

  test.each<[shape: string, sent: string[], passed: string[]]>([
    ['a usage chunk', [...said, usage, done], [...said, done]],
    [
      'comments between the events',
      [': ping\n\n', ...said, ': ping\n\n', usage, done],
      [': ping\n\n', ...said, ': ping\n\n', done],
    ],
    [
      'events with names and ids',
      [`event: message\nid: 7\n${said[0]}`, usage, done],
      [`event: message\nid: 7\n${said[0]}`, done],
    ],
    ['no space after the colon', said.concat(usage, done).map(tight), said.concat(done).map(tight)],
    [
      'data in two lines',
      ['data: {"choices":\ndata: [{}]}\n\n', usage, done],
      ['data: {"choices":\ndata: [{}]}\n\n', done],
    ],
    ['CRLF', said.concat(usage, done).map(crlf), said.concat(done).map(crlf)],
    ['no blank line at the end', [...said, usage, 'data: [DONE]'], [...said, 'data: [DONE]']],
    ['null usage on every chunk', [...said.map(nullUsage), usage, done], [...said.map(nullUsage), done]],
    [
      'choices that are null beside the usage',
      [...said, usage.replace('[]', 'null'), done],
      [...said, usage.replace('[]', 'null'), done],
    ],
  ])(
    '%s: passed on byte by byte, but for the usage chunk that the client did not ask for',
    async (shape, sent, passed) => {
      const requestIds: (string | null)[] = []
      for (const size of [1, 3, 10, 100_000]) {
        scripted.scripts.set(shape, { contentType: 'text/event-stream', pieces: inPieces(sent.join(''), size) })
        const response = await stream(shape, { model: 's' })
        expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
        expect((await readAll(response)).text, `in pieces of ${size}`).toBe(passed.join(''))
        requestIds.push(response.headers.get('x-request-id'))
      }
      for (const requestId of requestIds) {
        const row = await books.usageOf(requestId)
        expect(row).toMatchObject({ outcome: 'complete', estimated: false, input_tokens: 2, output_tokens: 3 })
      }
    },
  )

  test('usage is asked of the provider for every stream, and for nothing else', async () => {
    for (const options of [
      undefined,
      null,
      { include_usage: false },
      { include_usage: true, include_obfuscation: false },
    ]) {
      await readAll(await stream('asks usage', { stream_options: options }))
      // What arrived, as JSON
      const { stream_options } = JSON.parse(recordOf('asks usage')?.body ?? '{}')
      expect(stream_options).toEqual({ ...options, include_usage: true })
    }
    await (await gateway.chat('asks no usage')).json()
    expect(JSON.parse(recordOf('asks no usage')?.body ?? '{}')).not.toHaveProperty('stream_options')
  })

  test('two bounds in one body cannot show the provider a larger one than was held for', async () => {
    const text = '{"model":"m","user":"twice","max_tokens":5,"messages":[{"role":"user","content":"x"}],"max_tokens":3}'
    await (await gateway.post('/v1/chat/completions', text)).json()
    expect(recordOf('twice')?.body.match(/"max_tokens":\d+/g)).toEqual(['"max_tokens":3'])
    const escaped = text.replace('"max_tokens":5', '"max\\u005ftokens":9000')
    await (await gateway.post('/v1/chat/completions', escaped.replace('twice', 'escaped'))).json()
    expect(JSON.parse(recordOf('escaped')?.body ?? '{}').max_tokens).toBe(3)
    expect(recordOf('escaped')?.body).not.toContain('9000')
  })
})

describe('pace', () => {
  test('a client that does not read makes the provider stop writing, and costs little memory', async () => {
    const memoryBefore = await residentBytes()
    const response = await stream('much text')
    await expect.poll(() => recordOf('much text')?.chunksWritten ?? 0).toBeGreaterThan(10)
    await sleep(400)
    const written = recordOf('much text')?.chunksWritten ?? 0
    await sleep(600)
    expect(recordOf('much text')?.chunksWritten).toBe(written)
    // What is written is in the buffers of three sockets
    expect(written).toBeLessThan(15_000)
    expect((await residentBytes()) - memoryBefore).toBeLessThan(60_000_000)
    const { text } = await readAll(response)
    expect(text.length).toBeGreaterThan(40_000_000)
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
    expect(recordOf('much text')?.chunksWritten).toBe(20_000 + 4)
  })

  test('the first chunk goes out when it comes, not when the stream ends', async () => {
    const startedAtMs = performance.now()
    const controller = new AbortController()
    const text = await readUntil(await stream('long', {}, { signal: controller.signal }), () => true)
    expect(text).toContain('data: ')
    expect(performance.now() - startedAtMs).toBeLessThan(1_000)
  })
})

describe('clients that leave', () => {
  async function leave(user: string, how: (response: Response, controller: AbortController) => Promise<unknown>) {
    const controller = new AbortController()
    const response = await stream(user, {}, { signal: controller.signal })
    let seen = ''
    const upTo10 = (text: string): boolean => {
      seen = text
      return dataOf(text).length >= 10
    }
    await readUntil(response, upTo10).catch(() => undefined)
    const leftAtMs = Date.now()
    await how(response, controller)
    const record = recordOf(user)
    await expect.poll(() => record?.clientLeftAtMs, { interval: 10, timeout: 3_000 }).toBeTypeOf('number')
    return {
      tokensSeen: dataOf(seen).length - 1,
      cancelMs: (record?.clientLeftAtMs ?? 0) - leftAtMs,
      tokensWritten: (record?.chunksWritten ?? 0) - 1,
      row: await books.usageOf(response.headers.get('x-request-id')),
    }
  }

  test('the provider is let go within 200 ms, and what was streamed is charged, marked as estimated', async () => {
    const { tokensSeen, tokensWritten, cancelMs, row } = await leave('long', async (_, controller) =>
      controller.abort(),
    )
    expect(cancelMs).toBeLessThan(200)
    expect(row).toMatchObject({ outcome: 'client_left', estimated: true, overrun_nano_usd: 0n })
    expect(row.output_tokens).toBeGreaterThanOrEqual(tokensSeen)
    // By the length of its text, which is an estimate
    expect(row.output_tokens).toBeLessThanOrEqual(2 * tokensWritten)
    expect(row.charged_nano_usd).toBe(BigInt(row.input_tokens) * 3_000n + BigInt(row.output_tokens) * 15_000n)
  })

  test('where the provider tells totals as it goes, they are what is charged', async () => {
    const { tokensSeen, row } = await leave('long with totals', async (_, controller) => controller.abort())
    expect(row).toMatchObject({ outcome: 'client_left', estimated: false, input_tokens: 7 })
    expect(row.output_tokens).toBeGreaterThanOrEqual(tokensSeen)
  })

  describe('at the very end', () => {
    test.each<[what: string, isReached: (event: ChunkObject) => boolean]>([
      ['the last word', event => event.choices?.[0]?.delta?.content !== undefined],
      ['the finish reason', event => (event.choices?.[0]?.finish_reason ?? null) !== null],
    ])(
      'whoever leaves with %s pays for what the model thought unseen, by the numbers of the provider',
      async (_, isReached) => {
        const user = 'thinks, then says little'
        const controller = new AbortController()
        const response = await stream(user, {}, { signal: controller.signal })
        const words = 10
        await readUntil(response, text => {
          const events = eventsOf(wholeEvents(text))
          return events.length > words && isReached(events.at(-1) ?? {})
        }).catch(() => undefined)
        controller.abort()
        const row = await books.usageOf(response.headers.get('x-request-id'))
        expect(row).toMatchObject({ outcome: 'client_left', estimated: false, input_tokens: 7, output_tokens: 410 })
        expect(row).toMatchObject({ reasoning_tokens: 400, charged_nano_usd: 7n * 3_000n + 410n * 15_000n })
      },
    )

    test('a provider that never says what it used is not waited for much longer', async () => {
      const user = 'silent at the end'
      const last = 'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
      const pieces = [...said, last, ...Array<string>(40).fill(': waiting\n\n')]
      scripted.scripts.set(user, { contentType: 'text/event-stream', pieces, gapMs: 100 })
      const controller = new AbortController()
      const response = await stream(user, { model: 's' }, { signal: controller.signal })
      await readUntil(response, text => text.includes('finish_reason":"stop"')).catch(() => undefined)
      const leftAtMs = performance.now()
      controller.abort()
      const row = await books.usageOf(response.headers.get('x-request-id'))
      expect(performance.now() - leftAtMs).toBeLessThan(2_000 + clockMs)
      expect(row).toMatchObject({ outcome: 'client_left', estimated: true, reasoning_tokens: 0 })
      expect(row.charged_nano_usd).toBeGreaterThan(0n)
    })
  })

  test('in the middle: thinking is estimated by the pace that the provider was seen to think at', async () => {
    for (let call = 0; call < 2; call += 1) await readAll(await stream('thinks a while', { model: 'thinker' }))
    const controller = new AbortController()
    const response = await stream('thinks, then says much', { model: 'thinker' }, { signal: controller.signal })
    await readUntil(response, text => dataOf(text).length >= 10).catch(() => undefined)
    controller.abort()
    const row = await books.usageOf(response.headers.get('x-request-id'))
    expect(row).toMatchObject({ outcome: 'client_left', estimated: true, overrun_nano_usd: 0n })
    // 400 in half a second, whatever else the machine had to do
    expect(row.reasoning_tokens).toBeGreaterThan(200)
    expect(row.reasoning_tokens).toBeLessThan(1_200)
    expect(row.output_tokens).toBeGreaterThan(row.reasoning_tokens + 8)
  })

  test('what a model is estimated to have thought never costs more than was held', async () => {
    const controller = new AbortController()
    const body = { model: 'thinker', max_tokens: 20 }
    const response = await stream('says much, late', body, { signal: controller.signal })
    await readUntil(response, () => true).catch(() => undefined)
    controller.abort()
    const row = await books.usageOf(response.headers.get('x-request-id'))
    expect(row).toMatchObject({ outcome: 'client_left', estimated: true, output_tokens: 20, overrun_nano_usd: 0n })
  })

  describe('before an answer', () => {
    async function leaveUnanswered(user: string, body: Body) {
      const beganAt = new Date()
      const controller = new AbortController()
      const before = gateway.upstream.requestCount()
      const call = gateway.chat(user, body, { signal: controller.signal }).catch(() => undefined)
      await expect.poll(() => gateway.upstream.requestCount()).toBe(before + 1)
      const leftAtMs = Date.now()
      controller.abort()
      await call
      const rows = 'select request_id from usage_events where occurred_at >= $1'
      await expect.poll(() => books.query(rows, [beganAt]), { timeout: 5_000 }).toHaveLength(1)
      const [{ request_id } = { request_id: '' }] = await books.query<{ request_id: string }>(rows, [beganAt])
      return { leftAtMs, row: await books.usageOf(request_id) }
    }

    test('an answer that is not streamed, and nearly there, is charged by its own numbers', async () => {
      const { row } = await leaveUnanswered('slow', {})
      expect(row).toMatchObject({ outcome: 'client_left', estimated: false, input_tokens: 7, output_tokens: 9 })
    })

    test('one that takes longer is cancelled, and what was asked of the provider is charged as an estimate', async () => {
      const { leftAtMs, row } = await leaveUnanswered('hang', { model: 'quiet' })
      const letGoMs = (recordOf('hang')?.clientLeftAtMs ?? 0) - leftAtMs
      expect(letGoMs).toBeGreaterThan(clientLeftMs - 100)
      expect(letGoMs).toBeLessThan(clientLeftMs + 500)
      // Nothing is known of how fast that model writes
      expect(row).toMatchObject({ outcome: 'client_left', estimated: true, output_tokens: 0, overrun_nano_usd: 0n })
      expect(row.input_tokens).toBeGreaterThan(10)
      expect(row.charged_nano_usd).toBe(BigInt(row.input_tokens) * 3_000n)
    })

    test('where it is known how fast a model writes, what it wrote meanwhile is in the estimate, within its bound', async () => {
      for (let call = 0; call < 2; call += 1) await (await gateway.chat('slow', { model: 'writer' })).json()
      const { row } = await leaveUnanswered('hang', { model: 'writer' })
      expect(row).toMatchObject({ outcome: 'client_left', estimated: true, reasoning_tokens: 0 })
      expect(row.output_tokens).toBeGreaterThan(9)
      const bounded = await leaveUnanswered('hang', { model: 'writer', max_tokens: 5 })
      expect(bounded.row).toMatchObject({ estimated: true, output_tokens: 5, overrun_nano_usd: 0n })
    })

    test('a stream that has not begun is cancelled at once, and its prompt is charged', async () => {
      const { leftAtMs, row } = await leaveUnanswered('hang', { stream: true })
      expect((recordOf('hang')?.clientLeftAtMs ?? 0) - leftAtMs).toBeLessThan(200)
      expect(row).toMatchObject({ outcome: 'client_left', estimated: true, output_tokens: 0 })
      expect(row.charged_nano_usd).toBe(BigInt(row.input_tokens) * 3_000n)
    })

    test('a key that is revoked meanwhile ends the wait', async () => {
      const key = await gateway.newKey()
      const controller = new AbortController()
      const headers = { authorization: `Bearer ${key.value}` }
      const before = gateway.upstream.requestCount()
      const call = gateway.chat('hang', {}, { headers, signal: controller.signal }).catch(() => undefined)
      await expect.poll(() => gateway.upstream.requestCount()).toBe(before + 1)
      controller.abort()
      await call
      await gateway.admin('DELETE', key.path)
      const revokedAtMs = Date.now()
      await expect.poll(() => recordOf('hang')?.clientLeftAtMs ?? null).not.toBeNull()
      expect((recordOf('hang')?.clientLeftAtMs ?? 0) - revokedAtMs).toBeLessThan(100)
    })
  })
})

describe('providers that break off', () => {
  test.each(['cut', 'truncated'])(
    'a stream that the provider %s ends with an error event and no [DONE]',
    async user => {
      const response = await stream(user)
      expect(response.status).toBe(200)
      const { text, broken: error } = await readAll(response)
      expect(error).toBeUndefined()
      const events = eventsOf(text)
      expect(events.at(-1)?.error).toMatchObject({ code: 'stream_cut', message: expect.stringContaining('broke off') })
      expect(events.filter(event => event.error)).toHaveLength(1)
      expect(text).not.toContain('[DONE]')
      const row = await books.usageOf(response.headers.get('x-request-id'))
      expect(row).toMatchObject({ outcome: 'upstream_cut', estimated: true })
      expect(row.output_tokens).toBeGreaterThanOrEqual(19)
      expect(row.output_tokens).toBeLessThan(30)
    },
  )

  test.each(['hang', 'reset'] as const)(
    'a stream that has said [DONE] is whole, whatever its connection does then: %s',
    async then => {
      const user = `then ${then}`
      scripted.scripts.set(user, { contentType: 'text/event-stream', pieces: [...said, usage, done], then })
      const response = await stream(user, { model: 's' })
      const { text } = await readAll(response)
      expect(text).toBe([...said, done].join(''))
      const row = await books.usageOf(response.headers.get('x-request-id'))
      expect(row).toMatchObject({ outcome: 'complete', estimated: false, output_tokens: 3 })
    },
  )

  test('an answer that comes compressed, though nobody asked for it, is refused before its first byte', async () => {
    const script = { contentType: 'text/event-stream', pieces: [gzipSync(said.join(''))] }
    scripted.scripts.set('compressed', { ...script, headers: { 'content-encoding': 'gzip' } })
    await expectRefusal(await stream('compressed', { model: 's' }), { status: 502, code: 'upstream_invalid' })
  })

  test('an event that is not JSON is passed on like the others, and the call is charged', async () => {
    const response = await stream('malformed')
    const { text } = await readAll(response)
    expect(text).toContain('broken on purpose')
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
    const row = await books.usageOf(response.headers.get('x-request-id'))
    expect(row).toMatchObject({ outcome: 'complete', estimated: true })
    expect(row.charged_nano_usd).toBeGreaterThan(0n)
  })

  test('a stream that falls silent is given up after its time, with an error event', async () => {
    const startedAtMs = performance.now()
    const { text } = await readAll(await stream('falls silent'))
    expect(performance.now() - startedAtMs).toBeLessThan(silenceTimeoutMs + clockMs)
    expect(eventsOf(text).at(-1)?.error?.code).toBe('stream_cut')
    expect(text).not.toContain('[DONE]')
  })

  test.each<[user: string, status: number, code: string]>([
    ['hang', 504, 'upstream_timeout'],
    ['reset', 502, 'upstream_unreachable'],
    ['refuses before the stream', 502, 'upstream_error'],
  ])('before the first byte, %s is a plain error that costs nothing', async (user, status, code) => {
    const startedAtMs = performance.now()
    const response = await stream(user)
    expect(performance.now() - startedAtMs).toBeLessThan(answerTimeoutMs + clockMs)
    await expectRefusal(response, { status, code, type: 'server_error' })
    await sleep(deliveryMs)
    const requestId = response.headers.get('x-request-id')
    expect(await books.query('select from usage_events where request_id = $1', [requestId])).toEqual([])
  })
})

describe('a model with two providers', () => {
  beforeEach(async () => {
    // A model of its own each time: the circuits remember what failed
    model = `f${++models}`
    await gateway.admin('POST', `/v1/platform/models/${model}`, {
      kind: 'chat',
      routes: [
        { provider: 'first', upstream_model: model },
        { provider: 'upstream', upstream_model: 'm' },
      ],
    })
    await gateway.admin('POST', `/v1/platform/models/${model}/price`, {
      input_usd_per_million: '1',
      output_usd_per_million: '1',
    })
    broken = {}
    await expect.poll(async () => (await ask({ max_tokens: 1 })).status).toBe(200)
  })
  let model = ''
  let models = 0
  const ask = (body: Body = {}) => gateway.chat('plain', { model, max_tokens: 50, ...body })

  test.each<[what: string, behaviour: Partial<Behaviour>]>([
    ['resets the connection', { fault: 'reset' }],
    ['does not answer', { fault: 'hang' }],
    ['fails with 500', { fault: 'status', status: 500 }],
    ['is overloaded with 503', { fault: 'status', status: 503 }],
    ['is over its rate limit with 429', { fault: 'status', status: 429 }],
    ['refuses our credential with 401', { fault: 'status', status: 401 }],
    ['does not know the model with 404', { fault: 'status', status: 404 }],
  ])('when the first %s, the second answers, streamed and not', async (_, behaviour) => {
    broken = behaviour
    const whole = await ask()
    expect(whole.status).toBe(200)
    expect(JSON.stringify(await whole.json())).toContain('hello there')
    const { text } = await readAll(await ask({ stream: true }))
    expect(text).toContain('[DONE]')
    const row = await books.usageOf(whole.headers.get('x-request-id'))
    expect(row).toMatchObject({ model, provider: 'upstream', upstream_model: 'm', outcome: 'complete' })
  })

  test('when the first sends a page that is not JSON, or half an answer, the second answers', async () => {
    for (const fault of ['malformed', 'truncate', 'cut'] as const) {
      broken = { fault }
      expect((await ask()).status, fault).toBe(200)
    }
  })

  test('what is wrong with the request itself is told at once, and nobody else is asked', async () => {
    broken = { fault: 'status', status: 400 }
    const before = gateway.upstream.requestCount()
    await expectRefusal(await ask(), { status: 400 })
    expect(gateway.upstream.requestCount()).toBe(before)
  })

  test('once a byte has gone out, nobody else is asked', async () => {
    broken = { fault: 'cut', outputTokens: 20 }
    const before = gateway.upstream.requestCount()
    const { text } = await readAll(await ask({ stream: true }))
    expect(eventsOf(text).at(-1)?.error?.code).toBe('stream_cut')
    expect(gateway.upstream.requestCount()).toBe(before)
  })

  test('a provider that keeps failing is left alone for a while', async () => {
    broken = { fault: 'status', status: 500 }
    for (let call = 0; call < 5; call += 1) await (await ask()).json()
    const before = first.requestCount()
    for (let call = 0; call < 5; call += 1) expect((await ask()).status).toBe(200)
    expect(first.requestCount()).toBe(before)
  })

  test('when all fail, the answer is the last failure', async () => {
    broken = { fault: 'status', status: 500 }
    await expectRefusal(await gateway.chat('reset', { model }), { status: 502, code: 'upstream_unreachable' })
  })
})

test('after all of it nothing stays reserved, and every nano-dollar is accounted for', async () => {
  await books.expectBalanced()
})

const inPieces = (text: string, size: number): Buffer[] => {
  const bytes = Buffer.from(text)
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size))
}

const crlf = (event: string): string => event.replaceAll('\n', '\r\n')
const tight = (event: string): string => event.replace('data: ', 'data:')
const nullUsage = (event: string): string => event.replace('}\n\n', ',"usage":null}\n\n')

/** Of the server, as it tells itself. */
async function residentBytes(): Promise<number> {
  const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
  return Number(/^process_resident_memory_bytes (\d+)$/m.exec(metrics)?.[1])
}
