import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { afterEach, expect, test, vi } from 'vitest'
import { pause } from './write.ts'

afterEach(() => {
  vi.useRealTimers()
})

test.each([
  ['when it is over', () => vi.advanceTimersByTime(60_000)],
  ['when the client leaves', (response: ServerResponse) => response.emit('close')],
])('a pause leaves no timer and no listener behind %s', async (_when, end) => {
  vi.useFakeTimers()
  const response = new ServerResponse(new IncomingMessage(new Socket()))
  const listeners = response.listenerCount('close')
  const paused = pause(response, 60_000)
  expect(vi.getTimerCount()).toBe(1)
  end(response)
  await paused
  expect(vi.getTimerCount()).toBe(0)
  expect(response.listenerCount('close')).toBe(listeners)
})
