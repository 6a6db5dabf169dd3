import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { standing } from '#core/gcra.ts'
import { noTrouble } from '../../test/support/trouble.ts'
import { type Limit, type LocalCounters, memoryCounters, type Taken } from './counters.ts'
import { type OpenCounters, openCounters } from './open-counters.ts'

const minute = 60_000
const day = 86_400_000
const a = (limit: number, periodMs = minute): Limit => ({ counter: `a ${periodMs}`, limit, periodMs })

function taken(counters: LocalCounters, limits: readonly Limit[], costs: readonly number[]): Taken {
  const outcome = counters.take(limits, costs)
  if (!outcome.fits) throw new Error('it did not fit')
  return outcome
}

test('what alone is more than the limit is told so, not to wait', () => {
  expect(memoryCounters(() => 0).take([a(100)], [101])).toMatchObject({ waitMs: Number.POSITIVE_INFINITY })
})

test('tokens that were not used come back, and tokens beyond the estimate are owed', () => {
  let now = 0
  const counters = memoryCounters(() => now)
  const call = taken(counters, [a(100)], [60])
  const remaining = () => standing(taken(counters, [a(100)], [0]).levels[0] ?? 0, a(100), now).remaining
  counters.adjust(a(100), -50, call)
  expect(remaining()).toBe(90)
  counters.adjust(a(100), 190, call)
  expect(remaining()).toBe(0)
  now += minute
  expect(counters.take([a(100)], [1]).fits).toBe(false)
  now += minute / 100
  expect(counters.take([a(100)], [1]).fits).toBe(true)
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
        if (counters.take([a(limit)], [cost]).fits) admitted += cost
      }
      return admitted <= limit + (limit * now) / minute + 1e-3
    }),
  )
})

test('a refused call consumes nothing, in any dimension and at any level', () => {
  const limits = fc.array(
    fc.record({ limit: fc.integer({ min: 1, max: 30 }), periodMs: fc.constantFrom(0, minute, day) }),
    {
      minLength: 1,
      maxLength: 6,
    },
  )
  const calls = fc.array(fc.array(fc.nat(12), { minLength: 6, maxLength: 6 }), { maxLength: 60 })
  fc.assert(
    fc.property(limits, calls, (rows, all) => {
      const counters = memoryCounters(() => 5)
      const rules = rows.map((row, index) => ({ ...row, counter: String(index) }))
      const look = (): readonly number[] =>
        counters.take(
          rules,
          rules.map(() => 0),
        ).levels
      for (const costs of all) {
        const before = look()
        const each = rules.map(({ periodMs }, index) =>
          periodMs === 0 ? Math.min(1, costs[index] ?? 0) : (costs[index] ?? 0),
        )
        if (!counters.take(rules, each).fits) expect(look()).toEqual(before)
      }
    }),
  )
})

describe('counters in a file', () => {
  let folder = ''
  let now = 1_000_000
  const errors: string[] = []
  const open = (): Promise<OpenCounters> =>
    openCounters({
      redisUrl: '',
      nodes: () => ({ count: 1, rank: 0 }),
      file: join(folder, 'counters.json'),
      now: () => now,
      away: noTrouble,
      unkept: noTrouble,
      onError: message => errors.push(message),
    })
  const remaining = async (counters: OpenCounters, limit: Limit): Promise<number> =>
    standing((await counters.take([limit], [0])).levels[0] ?? 0, limit, now).remaining

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'keyhouse-counters-'))
    errors.length = 0
  })
  afterEach(() => rm(folder, { recursive: true }))

  test('what was used of a day is still used after a restart, and a minute begins anew', async () => {
    const first = await open()
    await first.take([a(10, day), a(10)], [4, 4])
    await first.close()
    now += 1_000
    const second = await open()
    expect(await remaining(second, a(10, day))).toBe(6)
    expect(await remaining(second, a(10))).toBe(10)
    await second.close()
  })

  test('it is written within seconds, for whoever is killed', async () => {
    const counters = await open()
    await counters.take([a(10, day)], [4])
    await expect
      .poll(() => readFile(join(folder, 'counters.json'), 'utf8').catch(() => ''), { timeout: 5_000 })
      .toContain('a 8')
    await counters.close()
  })

  test('a file that cannot be read is said, and limits go on', async () => {
    await writeFile(join(folder, 'counters.json'), '{"counters": {"a 86')
    const counters = await open()
    expect(errors).toHaveLength(1)
    expect(await remaining(counters, a(10, day))).toBe(10)
    await counters.close()
  })
})
