import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, type MockInstance, test, vi } from 'vitest'
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
