import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SseRelay } from './sse-relay.ts'

const event = (value: unknown, end = '\n\n'): string => `data: ${JSON.stringify(value)}${end}`
const chunk = (content: string, usage?: null) => ({
  id: 'c',
  choices: [{ index: 0, delta: { content } }],
  ...(usage === null && { usage }),
})
const numbers = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
const usageChunk = { id: 'c', choices: [], usage: numbers }
const done = 'data: [DONE]\n\n'

function relay(text: string, passUsage: boolean, pieces: number[]): { passed: string; relay: SseRelay } {
  const bytes = Buffer.from(text)
  const relay = new SseRelay(passUsage)
  const passed: Buffer[] = []
  let from = 0
  for (const length of [...pieces, bytes.length]) {
    if (from >= bytes.length) break
    passed.push(relay.push(bytes.subarray(from, from + length)))
    from += length
  }
  return { passed: Buffer.concat(passed).toString(), relay }
}

const texts = fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 8 })
const pieces = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 60 })
const lineEnds = fc.constantFrom('\n\n', '\r\n\r\n')

test('however the bytes are cut, events pass unchanged, usage is found, and only [DONE] and an unasked usage chunk stay back', () => {
  fc.assert(
    fc.property(texts, pieces, lineEnds, fc.boolean(), (contents, cuts, end, asked) => {
      const body = contents.map(content => event(chunk(content, null), end)).join('')
      const usage = event(usageChunk, end)
      const result = relay(body + usage + done, asked, cuts)
      expect(result.passed).toBe(asked ? body + usage : body)
      expect(result.relay.usage).toEqual(numbers)
      expect(result.relay.tail.toString()).toBe(done)
      expect(result.relay.tally.events).toBe(contents.length)
    }),
  )
})

test('an answer that has ended is told from one that goes on, wherever the bytes are cut', () => {
  const said = event({ choices: [{ index: 0, delta: { content: '"finish_reason":"stop"' }, finish_reason: null }] })
  const last = event({ choices: [{ index: 0, delta: {}, finish_reason: 'length' }] })
  for (const cuts of [[], [1, 1, 1], [said.length - 1, 3], Array<number>(said.length + last.length - 3).fill(1)]) {
    expect(relay(said, false, cuts).relay.isEnding).toBe(false)
    expect(relay(said + last, false, cuts).relay.isEnding).toBe(true)
    expect(relay(said + last.replace(':"length"', ' : "length"'), false, cuts).relay.isEnding).toBe(true)
  }
})

test('usage that rides on the last choice is read, and its chunk passes', () => {
  const last = event({ ...chunk('x'), usage: numbers })
  const { passed, relay: seen } = relay(last + done, false, [])
  expect(passed).toBe(last)
  expect(seen.usage).toEqual(numbers)
})

test('a model that talks about "usage" and [DONE] cannot pretend', () => {
  const body = event(chunk('"usage": {"prompt_tokens": 9} and data: [DONE]\n\n'))
  const { passed, relay: seen } = relay(body, false, [])
  expect(passed).toBe(body)
  expect(seen.usage).toBeUndefined()
  expect(seen.finished).toBe(false)
})

test('comments pass and are not counted', () => {
  const { passed, relay: seen } = relay(`: keep-alive\n\n${event(chunk('a'))}`, false, [])
  expect(passed).toContain('keep-alive')
  expect(seen.tally.events).toBe(1)
})

test('usage with spaces after its colon is found', () => {
  const spaced = `data: ${JSON.stringify(usageChunk).replaceAll(':', ': ')}\n\n`
  expect(relay(spaced, false, []).relay.usage).toEqual(numbers)
  expect(relay(spaced, false, []).passed).toBe('')
})

test('a member whose name only ends in usage is none, and hides none', () => {
  const alike = event({ id: 'c', choices: [], my_usage: numbers })
  expect(relay(alike, false, []).passed).toBe(alike)
  expect(relay(alike, false, []).relay.usage).toBeUndefined()
  const both = event({ my_usage: numbers, ...usageChunk })
  expect(relay(both, false, []).passed).toBe('')
  expect(relay(both, false, []).relay.usage).toEqual(numbers)
})

test('an event without end is not collected forever', () => {
  const endless = new SseRelay(false)
  const piece = Buffer.alloc(1024 * 1024, 'x')
  expect(() => {
    for (let sent = 0; sent < 20; sent += 1) endless.push(piece)
  }).toThrow(RangeError)
})

test('an error that the provider streams passes, and is no part of the answer that is estimated', () => {
  const said = event(chunk('twenty tokens')).repeat(20)
  const error = event({ error: { message: 'overloaded', code: 502 } })
  const { passed, relay: seen } = relay(said + error + done, false, [])
  expect(passed).toBe(said + error)
  expect(seen.failure).toContain('overloaded')
  expect(seen.tally).toEqual(relay(said, false, []).relay.tally)
  expect(relay(said + event({ ...chunk('x'), error: null }), false, []).relay.failure).toBeUndefined()
  expect(relay(event({ choices: [], usage: numbers, error: {} }), false, []).relay.usage).toEqual(numbers)
})
