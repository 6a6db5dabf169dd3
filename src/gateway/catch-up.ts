/**
 * What this node may not know yet: a model that was added a moment ago, here or on another node. Before a model is refused as
 * unknown, the changes are read once more.
 *
 * Callers wait for a round that begins after they came, so that it sees all that was there before them. Rounds begin at most
 * every `everyMs`, so that whoever asks for models that do not exist costs the database four small questions a second.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { within } from '#core/within.ts'

const everyMs = 250
/** A call is waiting: what takes longer is left to the next one. */
const roundMsMax = 1_000

/** @param read resolves when this node knows all that had changed when it was called; when it fails, what is known stays */
export function catchUpWith(read: () => Promise<void>, now: () => number): () => Promise<void> {
  let beganAtMs = Number.NEGATIVE_INFINITY
  let next: Promise<void> | undefined
  const round = async (): Promise<void> => {
    await sleep(Math.max(0, beganAtMs + everyMs - now()))
    next = undefined
    beganAtMs = now()
    // The watch that reads the same changes every quarter of a second reports what is wrong
    await within(roundMsMax, read()).catch(() => undefined)
  }
  return () => {
    next ??= round()
    return next
  }
}
