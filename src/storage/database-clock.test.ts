import { expect, test } from 'vitest'
import { troubleInto } from '../../test/support/trouble.ts'
import { DatabaseClock } from './database-clock.ts'

const minuteMs = 60_000
/** The true time, as the database has it. */
const noonMs = Date.UTC(2026, 10, 21, 12)

/** A machine whose own clock is off by so much, and whose answers travel as long as the test says. */
function machine(skewMs: number) {
  let sinceStartMs = 5_000
  let databaseMs = noonMs
  let ownSkewMs = skewMs
  const warnings: string[] = []
  const clock = new DatabaseClock(
    () => sinceStartMs,
    () => databaseMs + ownSkewMs,
    troubleInto(warnings),
  )
  const pass = (ms: number): void => {
    sinceStartMs += ms
    databaseMs += ms
  }
  return {
    clock,
    warnings,
    pass,
    trueMs: () => databaseMs,
    poll(thereMs = 1, backMs = 1) {
      const askedAtMs = sinceStartMs
      pass(thereMs)
      const toldAtMs = databaseMs
      pass(backMs)
      clock.hear({ askedAtMs, answeredAtMs: sinceStartMs, toldAtMs })
    },
    setOwnClock(ms: number) {
      ownSkewMs = ms
    },
    setDatabaseClockBack(ms: number) {
      databaseMs -= ms
      ownSkewMs += ms
    },
  }
}

test.each([-minuteMs, 0, minuteMs, 86_400_000])(
  'a machine that is %i ms off tells the time of the database',
  skewMs => {
    const { clock, poll, pass, trueMs } = machine(skewMs)
    poll()
    expect(clock.nowMs()).toBe(trueMs())
    pass(250)
    expect(clock.nowMs()).toBe(trueMs())
    expect(clock.skewMs).toBe(skewMs)
  },
)

test('it is wrong by no more than half of what the answer travelled', () => {
  for (const [thereMs, backMs] of [
    [800, 0],
    [0, 800],
    [300, 500],
  ] as const) {
    const { clock, poll, trueMs } = machine(minuteMs)
    poll(thereMs, backMs)
    expect(Math.abs(clock.nowMs() - trueMs())).toBeLessThanOrEqual(400)
  }
})

test('an answer that came while the process was stopped changes nothing', () => {
  const { clock, poll, trueMs } = machine(minuteMs)
  poll()
  poll(0, 10_000)
  expect(clock.nowMs()).toBe(trueMs())
})

test('until the database has answered, the own clock holds', () => {
  const { clock, trueMs } = machine(minuteMs)
  expect(clock.nowMs()).toBe(trueMs() + minuteMs)
})

test("the machine's clock may be set while the server runs: nothing changes", () => {
  const { clock, poll, pass, trueMs, setOwnClock } = machine(0)
  poll()
  setOwnClock(-3 * minuteMs)
  pass(100)
  expect(clock.nowMs()).toBe(trueMs())
})

test('an answer that travelled slower does not turn the clock back, so what has expired stays expired', () => {
  const { clock, poll, trueMs } = machine(0)
  poll(400, 0)
  poll(0, 400)
  const before = clock.nowMs()
  poll(500, 0)
  poll(0, 400)
  expect(clock.nowMs()).toBeGreaterThanOrEqual(before)
  poll(0, 0)
  expect(clock.nowMs() - trueMs()).toBeLessThan(1_000)
})

test("a database's clock that is set back is followed", () => {
  const { clock, poll, trueMs, setDatabaseClockBack } = machine(0)
  poll()
  clock.nowMs()
  setDatabaseClockBack(minuteMs)
  poll()
  expect(clock.nowMs()).toBe(trueMs())
})

test('a clock that is more than five seconds off is told of once, and again when it was right in between', () => {
  const { poll, warnings, setOwnClock } = machine(4_900)
  poll()
  expect(warnings).toEqual([])
  setOwnClock(-minuteMs)
  poll()
  poll()
  expect(warnings).toEqual([expect.stringMatching(/60 s behind the database's/)])
  setOwnClock(0)
  poll()
  setOwnClock(minuteMs)
  poll()
  expect(warnings).toHaveLength(2)
})
