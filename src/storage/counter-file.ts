/**
 * The long counters of a single node, kept across restarts: whatever needs more than a minute to be full again, such as
 * requests a day. Written when something changed, at most once a second and whole or not at all, and at the end. What is
 * given out in the last second before a kill -9 is forgotten: that second may be given out once more, and no more. A file
 * that cannot be read is as good as none, and is said so.
 */
import { readFileSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { z } from 'zod'
import type { Trouble } from '#contract/troubles.ts'
import type { RateLevels } from './counters.ts'

export type CounterFile = { close(): Promise<void> }

export type CounterFileOptions = {
  readonly path: string
  readonly levels: RateLevels
  now(): number
  readonly unkept: Trouble
  onError(message: string, error: unknown): void
}

const writeEveryMs = 1_000
/** What is full again sooner is not worth a file: a restart takes about as long. */
const keptAboveMs = 60_000
/** The longest period, and some debt: more than this is of a clock that was set back. */
const aheadMsMax = 25 * 3_600_000

const shape = z.object({ counters: z.record(z.string(), z.number()) })

/** Fills the levels from the file, and keeps the file. */
export function keepCounters(options: CounterFileOptions): CounterFile {
  const { path, levels, now, unkept } = options
  readInto(options)
  let writtenChanges = levels.changes
  let writing: Promise<void> | undefined
  const write = async (): Promise<void> => {
    if (levels.changes === writtenChanges) return
    const changes = levels.changes
    const kept = [...levels.entries()].filter(([, tat]) => tat - now() > keptAboveMs)
    await writeFile(`${path}.new`, JSON.stringify({ counters: Object.fromEntries(kept) }))
    await rename(`${path}.new`, path)
    writtenChanges = changes
    unkept.over()
  }
  const tick = (): void => {
    writing ??= write()
      .catch(error => unkept.began(error))
      .finally(() => {
        writing = undefined
      })
  }
  const timer = setInterval(tick, writeEveryMs).unref()
  return {
    async close() {
      clearInterval(timer)
      await writing
      tick()
      await writing
    },
  }
}

function readInto({ path, levels, now, onError }: CounterFileOptions): void {
  try {
    const { counters } = shape.parse(JSON.parse(readFileSync(path, 'utf8')))
    const at = now()
    for (const [counter, tat] of Object.entries(counters)) {
      if (tat > at) levels.set(counter, Math.min(tat, at + aheadMsMax), at)
    }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return
    onError(`${path} cannot be read: limits a day begin anew`, error)
  }
}
