import { expect, test } from 'vitest'
import { JsonBytes } from './json-bytes.ts'

const written = (numbers: readonly number[]): string => {
  const out = new JsonBytes()
  for (const number of numbers) {
    out.number(number)
    out.text('\n')
  }
  return out.take().toString()
}

test('numbers are written as JavaScript writes them', () => {
  const edges = [
    0,
    1,
    9,
    10,
    99,
    100,
    999_999_999,
    1_000_000_000,
    2 ** 31,
    2 ** 53 - 1,
    2 ** 60,
    1e21,
    -1,
    -17,
    0.5,
    1e-9,
  ]
  const random = Array.from({ length: 2_000 }, () => Math.floor(Math.random() * 10 ** Math.floor(Math.random() * 16)))
  const cents = random.map(number => number / 1_000_000_000)
  for (const numbers of [edges, random, cents]) {
    expect(written(numbers)).toBe(numbers.map(number => `${number}\n`).join(''))
  }
})

test('what is longer than a piece is written all the same, and taking it begins anew', () => {
  const out = new JsonBytes()
  const long = 'ä"\u2028'.repeat(200_000)
  out.text('begin ')
  out.text(long)
  expect(out.isFull).toBe(true)
  expect(out.take().toString()).toBe(`begin ${long}`)
  expect([out.isFull, out.take().length]).toEqual([false, 0])
  out.number(7)
  expect(out.take().toString()).toBe('7')
})
