import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { makeKey } from '#core/key-format.ts'
import type { CallPayload } from '#storage/call-payloads.ts'
import type { Exchange } from './exchange.ts'
import { type CaptureSettings, PayloadCapture } from './payload-capture.ts'

function exchangeOf(body: string): Exchange & { readonly sent: Buffer[] } {
  const sent: Buffer[] = []
  const add = (chunk?: Buffer | string): void => void (chunk !== undefined && sent.push(Buffer.from(chunk)))
  return {
    sent,
    requestId: 'req_1',
    method: 'POST',
    path: '/v1/chat/completions',
    query: '',
    headers: { authorization: 'Bearer secret' },
    rawHeaders: ['authorization', 'Bearer secret'],
    clientAddress: '127.0.0.1',
    startedAtMs: 0,
    closed: false,
    clientCertificates: () => [],
    body: async () => Buffer.from(body),
    onClientLeft: () => undefined,
    onDrain: () => undefined,
    start: () => undefined,
    write: chunk => sent.push(chunk) > 0,
    end: add,
    destroy: () => undefined,
  }
}

function captureWith(more: Partial<CaptureSettings> = {}) {
  const [written, warned]: [CallPayload[], object[]] = [[], []]
  const lost = { count: 0 }
  const capture = new PayloadCapture({
    write: async payloads => void written.push(...payloads),
    wallClock: () => 1_000,
    dropped: count => {
      lost.count += count
    },
    warn: details => warned.push(details),
    ...more,
  })
  return { capture, written, warned, lost }
}

const grantOf = (bytesMax: number | null) => ({
  projectId: 'proj_1',
  capture: bytesMax === null ? null : { bytesMax },
})

type Said = { readonly request: string; readonly pieces: readonly string[]; readonly bytesMax?: number | null }

/** One call through the capture. @returns what the client was sent */
async function talk(capture: PayloadCapture, { request, pieces, bytesMax = 100 }: Said): Promise<string> {
  const exchange = exchangeOf(request)
  const call = { exchange, grant: grantOf(bytesMax), body: { raw: Buffer.from(request) } }
  await capture.during(call, async watched => {
    watched.exchange.start(200, {})
    for (const piece of pieces.slice(0, -1)) watched.exchange.write(Buffer.from(piece))
    watched.exchange.end(pieces.at(-1))
  })
  return Buffer.concat(exchange.sent).toString()
}

test('a project that captures nothing pays nothing: its calls are worked on as they are', async () => {
  const { capture } = captureWith()
  const call = { exchange: exchangeOf('{}'), grant: grantOf(null), body: { raw: Buffer.from('{}') } }
  await capture.during(call, async watched => expect(watched).toBe(call))
})

test('what went through is kept up to the bound, says so, and is sent on unchanged', async () => {
  const { capture, written } = captureWith()
  const pieces = ['a'.repeat(70), 'b'.repeat(70), 'end']
  expect(await talk(capture, { request: `"${'é'.repeat(60)}"`, pieces })).toBe(pieces.join(''))
  await capture.close()
  expect(written).toEqual([
    {
      requestId: 'req_1',
      capturedAtMs: 1_000,
      projectId: 'proj_1',
      // The bound falls into the middle of a character
      request: `"${'é'.repeat(49)}`,
      requestBytes: 122,
      requestTruncated: true,
      answer: 'a'.repeat(70) + 'b'.repeat(30),
      answerBytes: 143,
      answerTruncated: true,
    },
  ])
  expect(capture.bytes).toBe(0)
})

test('our keys are masked, whole or cut, also where two chunks meet; headers are never kept', async () => {
  const { capture, written } = captureWith()
  const key = makeKey('project', bytes => new Uint8Array(bytes).fill(3))
  const request = `{"k":"${key}"}`
  await talk(capture, { request, pieces: [`x ${key.slice(0, 20)}`, `${key.slice(20)} \0 y`], bytesMax: 1_000 })
  await talk(capture, { request, pieces: [key], bytesMax: 30 })
  await capture.close()
  expect(written.map(({ request, answer }) => [request, answer])).toEqual([
    ['{"k":"sk-kh-proj-****"}', 'x sk-kh-proj-**** \ufffd y'],
    ['{"k":"sk-kh-proj-****', 'sk-kh-proj-****'],
  ])
  expect(JSON.stringify(written)).not.toMatch(/secret|authorization/i)
})

test('when the database does not keep up, memory stays bounded, calls go on, and what is dropped is counted and told', async () => {
  let release = (): void => undefined
  const held = new Promise<void>(resolve => {
    release = resolve
  })
  const { capture, warned, lost, written } = captureWith({
    bytesMax: 1_000,
    write: async payloads => {
      await held
      written.push(...payloads)
    },
  })
  for (let call = 0; call < 50; call += 1) {
    expect(await talk(capture, { request: 'q'.repeat(50), pieces: ['a'.repeat(50)] })).toBe('a'.repeat(50))
    expect(capture.bytes).toBeLessThanOrEqual(1_000)
  }
  release()
  await capture.close()
  expect([written.length, lost.count]).toEqual([10, 40])
  expect(warned).toHaveLength(1)
  expect(capture.bytes).toBe(0)
})

test('a database that refuses costs only what it refused', async () => {
  let refuses = true
  const { capture, written, lost } = captureWith({
    write: async payloads => {
      if (refuses) throw new Error('away')
      written.push(...payloads)
    },
  })
  await talk(capture, { request: '1', pieces: ['one'] })
  await sleep(600)
  refuses = false
  await talk(capture, { request: '2', pieces: ['two'] })
  await capture.close()
  expect([written.map(({ answer }) => answer), lost.count, capture.bytes]).toEqual([['two'], 1, 0])
})

test('a call that was refused leaves nothing behind, and one that broke off what was sent of it', async () => {
  const { capture, written, lost } = captureWith()
  const call = () => ({ exchange: exchangeOf('{}'), grant: grantOf(100), body: { raw: Buffer.from('{}') } })
  const refuse = async (): Promise<void> => {
    throw new Error('no credit')
  }
  await expect(capture.during(call(), refuse)).rejects.toThrow('no credit')
  expect(capture.bytes).toBe(0)
  const breakOff = capture.during(call(), async ({ exchange }) => {
    exchange.write(Buffer.from('half'))
    exchange.destroy()
    throw new Error('the client left')
  })
  await expect(breakOff).rejects.toThrow('the client left')
  await capture.close()
  expect([written.map(({ request, answer }) => [request, answer]), lost.count, capture.bytes]).toEqual([
    [['{}', 'half']],
    0,
    0,
  ])
})
