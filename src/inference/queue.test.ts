import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createQueue } from './queue.ts'
import { RefusalError } from './refusal.ts'

const never = new AbortController().signal

test('jobs run one at a time, in the order in which they came', async () => {
  const queue = createQueue(10)
  const seen: string[] = []
  const job = (name: string) => async () => {
    seen.push(`${name} begins`)
    await sleep(2)
    seen.push(`${name} ends`)
  }
  await Promise.all(['a', 'b', 'c'].map(name => queue.run(never, job(name))))
  expect(seen).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
})

test('a full queue refuses at once with 503 and a time to come back', async () => {
  const queue = createQueue(1)
  const slow = queue.run(never, () => sleep(30))
  const waiting = queue.run(never, () => sleep(0))
  const refused = await queue.run(never, () => sleep(0)).catch(error => error)
  expect(refused).toBeInstanceOf(RefusalError)
  expect(refused.refusal).toMatchObject({ status: 503, code: 'server_is_overloaded', retryAfterSeconds: 5 })
  await Promise.all([slow, waiting])
})

test('whoever leaves the queue gives up the place, and the job never runs', async () => {
  const queue = createQueue(1)
  const slow = queue.run(never, () => sleep(20))
  const caller = new AbortController()
  let ran = false
  const left = queue.run(caller.signal, async () => {
    ran = true
  })
  caller.abort(new Error('gone'))
  await expect(left).rejects.toThrow('gone')
  expect(queue.waiting()).toBe(0)
  const next = queue.run(never, async () => 'next')
  await slow
  expect(await next).toBe('next')
  expect(ran).toBe(false)
})

test('a job that fails does not block the ones behind it', async () => {
  const queue = createQueue(1)
  const failing = queue.run(never, async () => {
    throw new Error('broken')
  })
  const next = queue.run(never, async () => 'next')
  await expect(failing).rejects.toThrow('broken')
  expect(await next).toBe('next')
})
