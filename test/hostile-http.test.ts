/** What no SDK sends: requests that two servers could read in two ways, clients that dawdle, and clients that hang up. */
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Books } from './support/books.ts'
import { chatBody, startGateway, type TestGateway } from './support/gateway.ts'
import { type Conversation, type ConversationOptions, converse, rawPost } from './support/raw-http.ts'
import { expectEnvelope } from './support/refusals.ts'

let gateway: TestGateway

const chat = '/v1/chat/completions'
const bodyBytesMax = 200_000
const timeoutMs = 700
const headersTimeoutMs = 700
const clientLeftMs = 300

beforeAll(async () => {
  gateway = await startGateway({
    settings: {
      'body-bytes-max': String(bodyBytesMax),
      'body-timeout-ms': String(timeoutMs),
      'headers-timeout-ms': String(headersTimeoutMs),
      'client-stall-ms': '600',
      'client-left-ms': String(clientLeftMs),
    },
    cases: {
      slow: { latencyMs: 300 },
      never: { fault: 'hang' },
      'slow stream': { latencyMs: 100, outputTokens: 8, chunkIntervalMs: 60 },
      long: { outputTokens: 500, chunkIntervalMs: 20 },
      endless: { outputTokens: 60_000, chunkText: 'x'.repeat(2_000) },
    },
  })
})

afterAll(() => gateway.stop())

const body = JSON.stringify(chatBody('plain'))
const length = `Content-Length: ${body.length}`
const key = (): string => `Authorization: Bearer ${gateway.keys.project}`
const talk = (parts: readonly (string | Buffer)[], options?: ConversationOptions): Promise<Conversation> =>
  converse(gateway.url, parts, options)
/** A whole good request. */
const good = (user = 'plain', more: object = {}): string => {
  const text = JSON.stringify(chatBody(user, { ...more }))
  return rawPost(chat, [key(), `Content-Length: ${text.length}`], text)
}
const chunked = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`

describe('requests that two servers could read differently', () => {
  const post = (lines: readonly string[], text = body): string => rawPost(chat, [key(), ...lines], text)

  test.each<[shape: string, request: () => string]>([
    ['a length and a transfer encoding', () => post([length, 'Transfer-Encoding: chunked'], chunked(body))],
    ['a transfer encoding and a length', () => post(['Transfer-Encoding: chunked', length], chunked(body))],
    ['two different lengths', () => post([length, 'Content-Length: 5'])],
    ['the same length twice', () => post([length, length])],
    ['a list of lengths', () => post([`Content-Length: ${body.length}, ${body.length}`])],
    ['an unknown transfer encoding', () => post(['Transfer-Encoding: xchunked'], chunked(body))],
    ['chunked, and then something else', () => post(['Transfer-Encoding: chunked, identity'], chunked(body))],
    ['two transfer encodings', () => post(['Transfer-Encoding: chunked', 'Transfer-Encoding: x'], chunked(body))],
    ['a folded header line', () => post(['X-Folded: a', ` ${length}`, length])],
    ['a folded transfer encoding', () => post(['Transfer-Encoding:', ' chunked'], chunked(body))],
    ['lines that end in a bare LF', () => post([length]).replaceAll('\r\n', '\n')],
    ['one header line that ends in a bare LF', () => post([`X-A: b\n${length}`])],
    ['a bare CR within a header', () => post([`X-A: b\r${length}`])],
    ['a space before the colon', () => post([`Content-Length : ${body.length}`])],
    ['a negative length', () => post([`Content-Length: -${body.length}`])],
    ['a length with a plus', () => post([`Content-Length: +${body.length}`])],
    ['a length in hexadecimal', () => post([`Content-Length: 0x${body.length.toString(16)}`])],
    ['a length beyond 64 bits', () => post([`Content-Length: ${2n ** 64n + BigInt(body.length)}`])],
    ['a negative chunk size', () => post(['Transfer-Encoding: chunked'], `-${chunked(body)}`)],
    ['a chunk size beyond 64 bits', () => post(['Transfer-Encoding: chunked'], `1${'0'.repeat(16)}5\r\n${body}`)],
    [
      'chunks that end in a bare LF',
      () => post(['Transfer-Encoding: chunked'], chunked(body).replaceAll('\r\n', '\n')),
    ],
    ['a chunk longer than it says', () => post(['Transfer-Encoding: chunked'], `5\r\n${body}\r\n0\r\n\r\n`)],
    ['a NUL within a header', () => post([length, 'X-A: a\0b'])],
    ['no Host', () => post([length]).replace('Host: keyhouse.test\r\n', '')],
    ['two Hosts', () => post([length, 'Host: another.test'])],
    ['an unknown Expect', () => post([length, 'Expect: the-unexpected'])],
  ])('%s: refused with 400, and what follows on the connection never runs', async (_, request) => {
    const before = gateway.upstream.requestCount()
    const { statuses, body: answer, closed } = await talk([request() + good('smuggled')])
    expect(statuses).toEqual([400])
    expectEnvelope(answer, { type: 'invalid_request_error' })
    expect(closed).toBe(true)
    expect(gateway.upstream.requestCount()).toBe(before)
  })

  test('the shapes above are good requests but for that one thing', async () => {
    const { statuses } = await talk([post([length]) + post(['Transfer-Encoding: chunked'], chunked(body))], {
      waitMs: 500,
    })
    expect(statuses).toEqual([200, 200])
  })

  test.each<[what: string, bytes: () => string | Buffer]>([
    ['HTTP/2 without an upgrade', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['TLS', () => Buffer.from('16030100c5010000c10303', 'hex')],
    ['a verb that does not exist', () => 'BREW /v1/models HTTP/1.1\r\nHost: keyhouse.test\r\n\r\n'],
    ['an unknown HTTP version', () => 'GET /v1/models HTTP/4.2\r\nHost: keyhouse.test\r\n\r\n'],
    ['random bytes', () => Buffer.from(Array.from({ length: 300 }, (_, index) => (index * 193) % 256))],
  ])('%s is told that it is not HTTP as we speak it', async (_, bytes) => {
    const { statuses, body: answer, closed } = await talk([bytes()])
    expect(statuses).toEqual([400])
    expectEnvelope(answer)
    expect(closed).toBe(true)
  })

  test('CONNECT makes no tunnel', async () => {
    const {
      statuses,
      body: answer,
      closed,
    } = await talk(['CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n'])
    expect(statuses).toEqual([405])
    expectEnvelope(answer)
    expect(closed).toBe(true)
  })

  test('an upgrade is not taken up', async () => {
    const upgrade = ['Connection: Upgrade', 'Upgrade: websocket']
    const { statuses } = await talk([rawPost(chat, [key(), ...upgrade, length], body)], { waitMs: 300 })
    expect(statuses).toEqual([200])
  })
})

describe('sizes', () => {
  test.each<[what: string, request: () => string]>([
    ['one long header', () => rawPost(chat, [key(), `X-A: ${'a'.repeat(20_000)}`, length], body)],
    [
      'many short headers',
      () => rawPost(chat, [key(), ...Array.from({ length: 3_000 }, (_, n) => `a${n}: b`), length], body),
    ],
    ['a long address', () => rawPost(`/v1/models/${'a'.repeat(20_000)}`, [key(), length], body)],
  ])('%s is refused with 431', async (_, request) => {
    const { statuses, body: answer, closed } = await talk([request()])
    expect(statuses).toEqual([431])
    expectEnvelope(answer, { code: 'headers_too_large' })
    expect(closed).toBe(true)
  })

  test('a body over the limit is refused before it is sent, or as soon as it passes the limit', async () => {
    const before = gateway.upstream.requestCount()
    const told = await talk([rawPost(chat, [key(), `Content-Length: ${bodyBytesMax + 1}`])])
    expect(told.statuses).toEqual([413])
    expectEnvelope(told.body, { code: 'request_too_large' })
    expect(told.closed).toBe(true)
    const piece = 'x'.repeat(50_000)
    const endless = [rawPost(chat, [key(), 'Transfer-Encoding: chunked']), ...Array(40).fill(`c350\r\n${piece}\r\n`)]
    const untold = await talk(endless)
    expect(untold.statuses).toEqual([413])
    expectEnvelope(untold.body, { code: 'request_too_large' })
    expect(untold.closed).toBe(true)
    expect(gateway.upstream.requestCount()).toBe(before)
  })

  test('what is sent behind a body that was refused is no request', async () => {
    const before = gateway.upstream.requestCount()
    const { hostname, port } = new URL(gateway.url)
    // It goes on sending when the server has ended
    const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true }).on('error', () => undefined)
    let text = ''
    socket.on('data', chunk => {
      text += chunk
    })
    const tooLong = bodyBytesMax + 1
    socket.write(rawPost(chat, [key(), `Content-Length: ${tooLong}`]))
    await expect.poll(() => text).toContain(' 413 ')
    // The connection is read from for a while yet, so that the answer above is not lost
    socket.write('x'.repeat(tooLong) + rawPost(chat, [key(), `Content-Length: ${body.length}`], body))
    await sleep(500)
    expect(text.match(/HTTP\/1\.1 \d/g)).toHaveLength(1)
    expect(gateway.upstream.requestCount()).toBe(before)
    socket.destroy()
  })
})

describe('clients that dawdle', () => {
  test('headers that do not come are given up', async () => {
    const {
      statuses,
      body: answer,
      closed,
      tookMs,
    } = await talk([`POST ${chat} HTTP/1.1\r\n`, 'Host: x\r\n'], {
      waitMs: 5_000,
    })
    expect(statuses).toEqual([408])
    expectEnvelope(answer, { code: 'request_timeout' })
    expect(closed).toBe(true)
    // node looks every second
    expect(tookMs).toBeLessThan(headersTimeoutMs + 1_500)
  })

  test('headers that drip are given up all the same', async () => {
    const drip = [...`POST ${chat} HTTP/1.1\r\nX-Slow: ${'a'.repeat(200)}`]
    const { statuses, tookMs } = await talk(drip, { gapMs: 20, waitMs: 5_000 })
    expect(statuses).toEqual([408])
    expect(tookMs).toBeLessThan(6_000)
  })

  test('a body that does not come is given up, and the rest of the line is closed', async () => {
    const { statuses, body: answer, closed, tookMs } = await talk([rawPost(chat, [key(), length]), body.slice(0, 10)])
    expect(statuses).toEqual([408])
    expectEnvelope(answer, { code: 'request_timeout' })
    expect(closed).toBe(true)
    expect(tookMs).toBeLessThan(timeoutMs + 300)
  })

  test('a body that drips has the same deadline', async () => {
    const { statuses, tookMs } = await talk([rawPost(chat, [key(), length]), ...body], { gapMs: 30 })
    expect(statuses).toEqual([408])
    expect(tookMs).toBeLessThan(6_000)
  })

  test('300 idle connections keep nobody else out', async () => {
    const { hostname, port } = new URL(gateway.url)
    const idle: Socket[] = Array.from({ length: 300 }, () =>
      connect(Number(port), hostname).on('error', () => undefined),
    )
    await sleep(100)
    const startedAtMs = performance.now()
    expect((await gateway.chat('plain')).status).toBe(200)
    expect(performance.now() - startedAtMs).toBeLessThan(1_000)
    const filesBefore = await openFiles()
    for (const socket of idle) socket.destroy()
    await expect.poll(openFiles).toBe(filesBefore - idle.length)
  })

  test('a client that takes nothing of its stream is cut, loses its connection, and pays for what came', async () => {
    const { hostname, port } = new URL(gateway.url)
    const socket = connect(Number(port), hostname).pause()
    socket.on('error', () => undefined)
    socket.write(good('endless', { stream: true, max_tokens: 60_000 }))
    await expect.poll(() => recordOf('endless')?.chunksWritten).toBeGreaterThan(1)
    const filesBefore = await openFiles()
    await expect
      .poll(() => recordOf('endless')?.clientLeftAtMs, { timeout: 5_000, message: 'the upstream is let go' })
      .toBeTypeOf('number')
    // One connection to the provider and one to the client
    await expect.poll(openFiles, { timeout: 3_000 }).toBe(filesBefore - 2)
    socket.destroy()
    const books = await Books.open(gateway.keyhouse.dataDir)
    const usage = () => books.query<{ outcome: string; estimated: boolean; charged: bigint }>(lastUsage)
    await expect.poll(async () => (await usage())[0]?.outcome, { timeout: 3_000 }).toBe('client_left')
    const [row] = await usage()
    await books.close()
    expect(row?.estimated).toBe(true)
    expect(row?.charged).toBeGreaterThan(0n)
  })
})

const lastUsage =
  'select outcome, estimated, charged_nano_usd as charged from usage_events order by occurred_at desc limit 1'

/** Files and connections that the server has open, as it tells itself. */
async function openFiles(): Promise<number> {
  const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
  return Number(/^process_open_fds (\d+)$/m.exec(metrics)?.[1])
}

describe('clients that hang up', () => {
  test('a client that has said all and ends its side is answered', async () => {
    const { statuses, body: answer, closed } = await talk([good('slow')], { halfClose: true })
    expect(statuses).toEqual([200])
    expect(JSON.parse(answer.slice(answer.indexOf('{'))).choices[0].message.content).toContain('hello there')
    expect(closed).toBe(true)
  })

  test('such a client gets a stream to its end, with nothing in it that an SSE parser would see', async () => {
    const { statuses, text, closed } = await talk([good('slow stream', { stream: true })], { halfClose: true })
    expect(statuses).toEqual([200])
    expect(text).toContain('data: [DONE]')
    expect(text.match(/^data: \{/gm)?.length).toBe(10)
    expect(text).not.toContain('"error"')
    expect(closed).toBe(true)
  })

  test('such a client gets its refusal', async () => {
    const { statuses, body: answer } = await talk([rawPost(chat, [length], body)], { halfClose: true })
    expect(statuses).toEqual([401])
    expectEnvelope(answer)
  })

  test('half a body and then the end is refused at once', async () => {
    const {
      statuses,
      body: answer,
      closed,
      tookMs,
    } = await talk([rawPost(chat, [key(), length]), body.slice(0, 10)], { halfClose: true })
    expect(statuses).toEqual([400])
    expectEnvelope(answer)
    expect(closed).toBe(true)
    expect(tookMs).toBeLessThan(timeoutMs)
  })

  test.each<[how: string, hangUp: (socket: Socket) => void]>([
    ['closes its socket', socket => socket.destroy()],
    ['resets the connection', socket => socket.resetAndDestroy()],
  ])(
    'a client that %s while it waits: the provider is let go, and no answer waited for longer than is set',
    async (_, hangUp) => {
      const { hostname, port } = new URL(gateway.url)
      const before = gateway.upstream.requestCount()
      const socket = connect(Number(port), hostname, () => socket.write(good('never')))
      await expect.poll(() => gateway.upstream.requestCount()).toBe(before + 1)
      const leftAtMs = Date.now()
      hangUp(socket)
      const upstream = gateway.upstream.requests.at(-1)
      await expect.poll(() => upstream?.clientLeftAtMs, { interval: 10, timeout: 2_000 }).toBeTypeOf('number')
      expect((upstream?.clientLeftAtMs ?? 0) - leftAtMs).toBeLessThan(clientLeftMs + 200)
    },
  )

  test('rubbish after a request never lands in the answer to it', async () => {
    const { statuses, text, closed } = await talk([good('long', { stream: true }), 'GARBAGE\r\n\r\n'], { gapMs: 300 })
    expect(statuses).toEqual([200])
    expect(text.indexOf('HTTP/1.1', 10)).toBe(-1)
    expect(text).not.toContain('[DONE]')
    expect(closed).toBe(true)
  })

  test('two requests at once on one connection are answered in their order', async () => {
    const { statuses, text } = await talk([good('slow', { n: 2 }) + good('plain', { n: 3 })], { waitMs: 800 })
    expect(statuses).toEqual([200, 200])
    expect(text.indexOf('"index":2')).toBeGreaterThan(text.lastIndexOf('HTTP/1.1 200'))
  })
})

test('after all of it the server is well, holds nothing back, and every nano-dollar is accounted for', async () => {
  expect((await gateway.chat('plain')).status).toBe(200)
  const books = await Books.open(gateway.keyhouse.dataDir)
  await books.expectBalanced()
  await books.close()
  const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
  expect(metrics).toMatch(/^keyhouse_calls_active 0$/m)
  expect(gateway.keyhouse.output()).not.toMatch(/unexpected error|MaxListeners|Unhandled/)
})

const recordOf = (user: string) => gateway.upstream.requests.findLast(({ body: text }) => text.includes(`"${user}"`))
