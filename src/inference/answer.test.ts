import fc from 'fast-check'
import { expect, test } from 'vitest'
import { answer, createStopScanner } from './answer.ts'
import type { Sampling } from './model.ts'
import { createEchoModel } from './testing.ts'

const sampling: Sampling = { temperature: 0, topP: 1, seed: 0, frequencyPenalty: 0, presencePenalty: 0, grammar: null }

const scanAll = (pieces: readonly string[], stops: readonly string[]): string => {
  const scanner = createStopScanner(stops)
  let out = ''
  for (const piece of pieces) {
    const { text, stopped } = scanner.push(piece)
    out += text
    if (stopped) return out
  }
  return out + scanner.rest()
}

const cutAtFirst = (text: string, stops: readonly string[]): string => {
  const found = stops.map(stop => text.indexOf(stop)).filter(at => at !== -1)
  return found.length === 0 ? text : text.slice(0, Math.min(...found))
}

test('a stop string is found wherever the chunks break, and never leaves', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 4 })
  const stop = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 3 })
  fc.assert(
    fc.property(fc.array(letters, { maxLength: 12 }), fc.array(stop, { maxLength: 4 }), (pieces, stops) => {
      const scanned = scanAll(pieces, stops)
      expect(stops.some(one => scanned.includes(one))).toBe(false)
      expect(pieces.join('').startsWith(scanned)).toBe(true)
      // with one stop string there is one right place to cut
      const [only] = stops
      if (only !== undefined && stops.length === 1) expect(scanned).toBe(cutAtFirst(pieces.join(''), [only]))
    }),
  )
})

test('text that might begin a stop string is held back until it cannot', () => {
  const scanner = createStopScanner(['END'])
  expect(scanner.push('the E')).toEqual({ text: 'the ', stopped: false })
  expect(scanner.push('N')).toEqual({ text: '', stopped: false })
  expect(scanner.push('VY')).toEqual({ text: 'ENVY', stopped: false })
})

const run = async (stop: readonly string[], outputTokensMax: number) => {
  const model = createEchoModel()
  const request = { prompt: model.encodeText('one two three'), sampling, stop, outputTokensMax }
  return answer(model, request, new AbortController().signal, async () => undefined)
}

test('an answer ends with `length` at its token limit', async () => {
  expect(await run([], 4)).toEqual({ text: 'one two three one ', outputTokens: 4, finishReason: 'length' })
})

test('an answer ends with `stop` before its stop string', async () => {
  expect(await run(['three'], 16)).toEqual({ text: 'one two ', outputTokens: 3, finishReason: 'stop' })
})
