import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { FaultProxy } from './fault-proxy.ts'

let echo: Server
let proxy: FaultProxy
const clients: Socket[] = []

beforeEach(async () => {
  echo = createServer(socket => void socket.on('error', () => undefined).pipe(socket))
  echo.listen(0, '127.0.0.1')
  await once(echo, 'listening')
  proxy = await FaultProxy.open({ target: { host: '127.0.0.1', port: (echo.address() as AddressInfo).port } })
})

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy()
  await proxy.close()
  echo.close()
})

async function client(): Promise<{ socket: Socket; heard: () => string; closed: () => string | undefined }> {
  const socket = connect(proxy.port, '127.0.0.1')
  clients.push(socket)
  let heard = ''
  let closed: string | undefined
  socket.on('data', chunk => {
    heard += chunk.toString()
  })
  socket.on('error', (error: NodeJS.ErrnoException) => {
    closed = error.code
  })
  socket.on('close', () => {
    closed ??= 'ended'
  })
  await expect.poll(() => !socket.connecting).toBe(true)
  return { socket, heard: () => heard, closed: () => closed }
}

test('bytes and ends pass both ways', async () => {
  const { socket, heard, closed } = await client()
  const sent = 'x'.repeat(1_000_000)
  socket.end(sent)
  await expect.poll(closed).toBe('ended')
  expect(heard()).toBe(sent)
  await expect.poll(() => proxy.connections).toBe(0)
})

test('a cut resets what is open and refuses what is new, until it is restored on the same port', async () => {
  const before = await client()
  before.socket.write('a')
  await expect.poll(before.heard).toBe('a')
  await proxy.cut()
  await expect.poll(before.closed).toBe('ECONNRESET')
  const during = await client()
  expect(during.closed()).toBe('ECONNREFUSED')
  await proxy.restore()
  const after = await client()
  after.socket.write('b')
  await expect.poll(after.heard).toBe('b')
})

test('a hanging proxy accepts and keeps connections, passes nothing, and loses nothing', async () => {
  const before = await client()
  proxy.hang()
  const during = await client()
  before.socket.write('a')
  during.socket.write('b')
  await sleep(100)
  expect([before.heard(), during.heard()]).toEqual(['', ''])
  expect([before.closed(), during.closed()]).toEqual([undefined, undefined])
  await proxy.restore()
  await expect.poll(() => [before.heard(), during.heard()]).toEqual(['a', 'b'])
})

test('a hanging proxy hides that the other side died', async () => {
  const { socket, heard, closed } = await client()
  socket.write('a')
  await expect.poll(heard).toBe('a')
  proxy.hang()
  const accepted = once(echo, 'close')
  echo.close()
  socket.end()
  await sleep(100)
  expect(closed()).toBe(undefined)
  await proxy.restore()
  await accepted
  await expect.poll(closed).toBe('ended')
})

test('a slow proxy delays each chunk and keeps their order', async () => {
  const { socket, heard } = await client()
  proxy.slow(100)
  const start = performance.now()
  for (const letter of ['a', 'b', 'c']) {
    socket.write(letter)
    await sleep(10)
  }
  await expect.poll(heard, { timeout: 5000 }).toBe('abc')
  expect(performance.now() - start).toBeGreaterThan(200)
})
