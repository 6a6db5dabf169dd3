import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { catchUpWith } from './catch-up.ts'

const now = (): number => performance.now()

test('callers share a round that begins after they came, and rounds begin at most every 250 ms', async () => {
  const began: number[] = []
  const catchUp = catchUpWith(async () => void began.push(now()), now)
  const came = now()
  const first = [catchUp(), catchUp()]
  await Promise.all(first)
  const cameLater = now()
  await Promise.all([catchUp(), catchUp()])
  const [one = 0, two = 0] = began
  expect(began).toHaveLength(2)
  expect(one).toBeGreaterThanOrEqual(came)
  expect(one - came).toBeLessThan(200)
  expect(two).toBeGreaterThanOrEqual(cameLater)
  expect(two - one).toBeGreaterThan(240)
})

test('a read that fails leaves what is known, one that hangs is not waited for, and the next caller reads again', async () => {
  let reads = 0
  const catchUp = catchUpWith(async () => {
    reads += 1
    if (reads === 1) throw new Error('the database is away')
    await sleep(5_000, undefined, { ref: false })
  }, now)
  await catchUp()
  const before = now()
  await catchUp()
  expect(reads).toBe(2)
  expect(now() - before).toBeLessThan(2_000)
})
