import { stat } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { within } from './within.ts'

const ms = 20

test('what comes too late is not waited for', async () => {
  await expect(within(ms, new Promise(() => undefined))).rejects.toThrow(`no answer within ${ms} ms`)
})

test('an answer that came while this process was busy counts, however long it was busy', async () => {
  // From here on timers run before the loop reads again
  await stat('.')
  const answer = within(ms, stat('.'))
  const busyTillMs = performance.now() + ms * 5
  while (performance.now() < busyTillMs);
  expect((await answer).isDirectory()).toBe(true)
})
