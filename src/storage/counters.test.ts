import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Charge, memoryCounters } from './counters.ts'

const minute = 60_000
const requests = (counter: string, limit: number, cost = 1): Charge => ({
  counter,
  rate: { limit, periodMs: minute },
  cost,
})

test('the limit fits at once, and one more does not until its share of the minute has passed', () => {
  let now = 1000
  const counters = memoryCounters(() => now)
  const three = requests('a', 3)
  expect([1, 2, 3].map(() => counters.take([three]))).toEqual([undefined, undefined, undefined])
  const refusal = counters.take([three])
  expect(refusal?.waitMs).toBeCloseTo(20_000)
  expect(refusal?.used).toBe(3)
  now += 20_000
  expect(counters.take([three])).toBeUndefined()
  expect(counters.take([three])).toBeDefined()
})

test('a refused call consumes nothing, in any dimension', () => {
  const counters = memoryCounters(() => 1000)
  const wide = requests('wide', 100)
  const narrow = requests('narrow', 1)
  counters.take([wide, narrow])
  expect(counters.take([wide, narrow])?.charge).toBe(narrow)
  expect(counters.standing(wide).remaining).toBe(99)
})

test('what alone is more than the limit is told so, not to wait', () => {
  expect(memoryCounters(() => 0).take([requests('tokens', 100, 101)])?.waitMs).toBe(Number.POSITIVE_INFINITY)
})

test('tokens that were not used come back, and tokens beyond the estimate are owed', () => {
  let now = 0
  const counters = memoryCounters(() => now)
  const hundred = requests('tokens', 100, 60)
  counters.take([hundred])
  counters.adjust(hundred, -50)
  expect(counters.standing(hundred).remaining).toBe(90)
  counters.adjust(hundred, 190)
  expect(counters.standing(hundred).remaining).toBe(0)
  now += minute
  expect(counters.take([requests('tokens', 100, 1)])).toBeDefined()
  now += minute / 100
  expect(counters.take([requests('tokens', 100, 1)])).toBeUndefined()
})

test('over any time, what is admitted is at most one burst and the rate', () => {
  const step = fc.record({ wait: fc.nat(5_000), cost: fc.integer({ min: 1, max: 20 }) })
  fc.assert(
    fc.property(fc.integer({ min: 20, max: 200 }), fc.array(step, { maxLength: 300 }), (limit, steps) => {
      let now = 0
      let admitted = 0
      const counters = memoryCounters(() => now)
      for (const { wait, cost } of steps) {
        now += wait
        if (!counters.take([requests('a', limit, cost)])) admitted += cost
      }
      return admitted <= limit + (limit * now) / minute + 1e-3
    }),
  )
})
