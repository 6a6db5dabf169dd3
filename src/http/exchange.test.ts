import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, type MockInstance, test, vi } from 'vitest'
import { apiError } from '#contract/errors.ts'
import { createLog } from '#observe/log.ts'
import { answerError } from './errors.ts'
import { HttpExchange } from './exchange.ts'

let answer: (exchange: HttpExchange) => void = () => undefined
const server = createServer((request, response) =>
  answer(
    new HttpExchange(request, response, {
      bodyBytesMax: 1_000,
      bodyTimeoutMs: 1_000,
      clientAddress: () => '',
      clientCertificates: () => [],
      isStopping: () => false,
    }),
  ),
)
beforeEach(() => new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve)))
afterEach(() => new Promise(resolve => server.close(resolve)))

const get = async (): Promise<Buffer> => {
  // Listening on a port, not on a pipe: its address is an object.
  const { port } = server.address() as AddressInfo
  const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })
  return Buffer.from(await response.arrayBuffer())
}

const everyByte = (length: number): Buffer => Buffer.from(Array.from({ length }, (_, index) => index % 256))
const sizes = [0, 1, 256, 16 * 1024, 16 * 1024 + 1, 300_000]

test.each(sizes)('a body of %i bytes arrives as the bytes that were given', async length => {
  const body = everyByte(length)
  answer = exchange => {
    exchange.start(200, { 'content-type': 'application/octet-stream', 'content-length': String(length) })
    exchange.end(body)
  }
  expect((await get()).equals(body)).toBe(true)
  answer = exchange => exchange.end(body)
  expect((await get()).equals(body)).toBe(true)
})

test.each(['text/event-stream', 'application/json'])('the pieces of a %s arrive in their order', async type => {
  answer = exchange => {
    exchange.start(200, { 'content-type': type })
    exchange.write(everyByte(300))
    exchange.write(Buffer.alloc(0))
    exchange.write(everyByte(20_000))
    exchange.end(everyByte(500))
  }
  expect((await get()).equals(Buffer.concat([everyByte(300), everyByte(20_000), everyByte(500)]))).toBe(true)
})

test('headers and a small body leave in one piece', async () => {
  let inPieces: MockInstance | undefined
  answer = exchange => {
    const { socket } = exchange.response
    if (socket) inPieces = vi.spyOn(socket, '_writev')
    const body = Buffer.from('{"text":"é"}')
    exchange.start(200, { 'content-type': 'application/json', 'content-length': String(body.length) })
    exchange.end(body)
  }
  expect((await get()).toString()).toBe('{"text":"é"}')
  expect(inPieces).toBeDefined()
  expect(inPieces).not.toHaveBeenCalled()
})

/** Sends pieces over one connection. @returns what came back, once that is all that `ends` waits for, or the connection closed */
async function send(pieces: readonly string[], ends: RegExp): Promise<string> {
  // As above
  const { port } = server.address() as AddressInfo
  const socket = connect(port, '127.0.0.1').setNoDelay(true)
  const write = async (): Promise<void> => {
    for (const piece of pieces) {
      socket.write(piece)
      await sleep(5)
    }
  }
  void write()
  let answers = ''
  for await (const data of socket) {
    answers += data
    if (ends.test(answers)) break
  }
  return answers
}

const head = (length: number): string =>
  `POST / HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`

/** As in the gateway: by the time that it asks for a body, one that came with its headers has been read. */
const authenticated = async (): Promise<void> => undefined

test.each([
  ['in one piece with its headers', [`${head(7)}{"a":1}`], ['{"a":1}']],
  ['after its headers', [head(7), '{"a":1}'], ['{"a":1}']],
  ['in pieces', [`${head(7)}{"a`, '":1', '}'], ['{"a":1}']],
  ['with the next request behind it', [`${head(7)}{"a":1}${head(7)}{"a":2}`], ['{"a":1}', '{"a":2}']],
])('a body that comes %s is read whole, and its connection serves the next request', async (_how, pieces, came) => {
  const bodies: string[] = []
  answer = async exchange => {
    await authenticated()
    bodies.push(String(await exchange.body()))
    exchange.end(`answer ${bodies.length}.`)
  }
  const expected = [...came, '{}']
  await send([...pieces, `${head(2)}{}`], new RegExp(`answer ${expected.length}\\.`))
  expect(bodies).toEqual(expected)
})

test('a request that is refused after it has come leaves its connection open, and one that is refused before does not', async () => {
  const observer = { log: createLog('silent'), warn: () => undefined, refused: () => undefined }
  answer = async exchange => {
    await authenticated()
    await exchange.body()
    answerError(exchange, apiError('invalid_json'), observer)
  }
  const twice = [`${head(2)}{}`, `${head(2)}{}`]
  const refused = await send(twice, /400 .*400 /s)
  expect(refused.match(/HTTP\/1.1 400/g)).toHaveLength(2)
  expect(refused).not.toMatch(/connection: close/i)
  answer = exchange => answerError(exchange, apiError('invalid_json'), observer)
  const early = await send([`${head(20)}{}`, ...twice], /400 .*400 /s)
  expect(early.match(/HTTP\/1.1 400/g)).toHaveLength(1)
  expect(early).toMatch(/connection: close/i)
})
