import type { ServerResponse } from 'node:http'
import type { Answer } from './answer.ts'
import type { Behaviour } from './behaviour.ts'

/**
 * Puts an answer onto the wire: paced, in odd pieces if asked, never faster than the client reads, and never after the
 * client has left. It leaves no timer and no listener behind.
 */

/** A client that reads nothing for so long is disconnected. */
const stalledMsMax = 5 * 60_000

type Pace = Pick<Behaviour, 'chunkIntervalMs' | 'splitBytes'>

/**
 * Writes head and body without ending the response; `onChunk` is called after each write.
 * @returns false when the client left before all of it was written.
 */
export async function writeAnswer(
  response: ServerResponse,
  answer: Answer,
  pace: Pace,
  onChunk: () => void,
): Promise<boolean> {
  response.writeHead(answer.status, answer.headers)
  let isFirst = true
  for (const piece of pieces(answer.body, pace.splitBytes)) {
    if (!isFirst && pace.chunkIntervalMs > 0) await pause(response, pace.chunkIntervalMs)
    if (response.destroyed) return false
    isFirst = false
    const hasRoom = response.write(piece)
    onChunk()
    if (!hasRoom && !(await drained(response))) return false
  }
  return true
}

/** Resolves after so long, or as soon as the connection is gone. */
export function pause(response: ServerResponse, ms: number): Promise<void> {
  return waitFor(response, [], ms)
}

/** True when the client has read on; false when it left or was disconnected for reading nothing. */
async function drained(response: ServerResponse): Promise<boolean> {
  await waitFor(response, ['drain'], stalledMsMax)
  if (response.writableNeedDrain) response.destroy()
  return !response.destroyed
}

function waitFor(response: ServerResponse, events: readonly string[], msMax: number): Promise<void> {
  if (response.destroyed) return Promise.resolve()
  const awaited = [...events, 'close']
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(timer)
      for (const event of awaited) response.off(event, done)
      resolve()
    }
    const timer = setTimeout(done, msMax)
    for (const event of awaited) response.once(event, done)
  })
}

function* pieces(body: Answer['body'], bytes: number | null): Generator<string | Buffer> {
  const parts = typeof body === 'string' ? [body] : body
  if (bytes === null) yield* parts
  else yield* split(parts, bytes)
}

/** The same bytes in pieces of exactly so many, whatever they cut through; the last one may be shorter. */
function* split(parts: Iterable<string>, bytes: number): Generator<Buffer> {
  // a size of 0 would never come to an end
  const size = Math.max(1, bytes)
  let held = Buffer.alloc(0)
  for (const part of parts) {
    held = Buffer.concat([held, Buffer.from(part)])
    for (; held.length >= size; held = held.subarray(size)) yield held.subarray(0, size)
  }
  if (held.length > 0) yield held
}
