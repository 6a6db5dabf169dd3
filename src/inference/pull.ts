/**
 * What every pull has in common. Nothing is fetched unless asked for, everything is pinned (weights by sha256, the engine
 * by the hashes in engine/package-lock.json), and a thing has its final name only when it is whole and verified. A pull
 * that was cut goes on where it stopped; two at once take turns.
 */
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ModelCard } from './catalog.ts'
import { flushToDisk } from './files.ts'
import { cardFile, lockFile, modelFolder, partialFolder } from './model-folder.ts'
import { withPullLock } from './pull-lock.ts'

/** Bytes over the wire, of the part in hand; the total is `null` while a server does not say. */
export type PullProgress = {
  readonly part: string
  readonly bytesDone: number
  readonly bytesTotal: number | null
}

export type PullOptions = {
  /** The data directory's models folder. */
  readonly models: string
  readonly signal: AbortSignal
  readonly onProgress: (progress: PullProgress) => void
}

export const percentOf = ({ bytesDone, bytesTotal }: PullProgress): number =>
  bytesTotal === null || bytesTotal === 0 ? 0 : Math.min(100, Math.floor((100 * bytesDone) / bytesTotal))

export type PullJob = {
  /** A folder's name, and what progress calls it. */
  readonly what: string
  readonly options: PullOptions
  /** What will come over the wire, where that is known beforehand. */
  readonly bytesTotal: number | null
  readonly isDone: () => boolean
  readonly fetch: (tracked: PullOptions, folder: string) => Promise<void>
}

/** Runs one job alone among all processes, unless another one has just finished the same. */
export const pullOnce = async ({ what, options, bytesTotal, isDone, fetch }: PullJob): Promise<void> => {
  if (isDone()) return
  const folder = partialFolder(options.models, what)
  await mkdir(folder, { recursive: true })
  let percent = 0
  const onProgress = (progress: PullProgress): void => {
    percent = percentOf(progress)
    options.onProgress(progress)
  }
  const onWait = (waited: number): void =>
    options.onProgress({ part: what, bytesDone: Math.floor(((bytesTotal ?? 0) * waited) / 100), bytesTotal })
  const lock = { path: lockFile(options.models, what), signal: options.signal, percent: () => percent, onWait }
  await withPullLock(lock, async () => {
    if (isDone()) return
    await mkdir(folder, { recursive: true })
    await fetch({ ...options, onProgress }, folder)
    await rm(folder, { recursive: true, force: true })
  })
}

/** Deletes what pulls left behind that nobody took up again for so long. */
export const sweepLeftovers = async (models: string, olderThanMs: number): Promise<void> => {
  const partial = join(models, 'partial')
  const names = await readdir(partial).catch(() => [])
  for (const name of names) {
    const path = join(partial, name)
    const found = await stat(path).catch(() => null)
    if (found !== null && Date.now() - found.mtimeMs > olderThanMs) await rm(path, { recursive: true, force: true })
  }
}

export const npmFailed =
  (what: string, signal: AbortSignal) =>
  (cause: unknown): never => {
    signal.throwIfAborted()
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new Error(
      `npm could not fetch ${what}: ${why}. Check the network and \`npm config get registry\`, then pull again; ` +
        'what has arrived is kept.',
      { cause },
    )
  }

export const wrongHash = (what: string): string =>
  `The sha256 of ${what} is not the pinned one, so it has been deleted. It is damaged or not what it claims to be.`

/** The last step of every pull: verified weights and their card get their final name together. */
export const installModel = async (card: ModelCard, folder: string, models: string): Promise<void> => {
  await flushToDisk(join(folder, 'weights.gguf'))
  await writeFile(cardFile(folder), `${JSON.stringify(card, null, 2)}\n`, { flush: true })
  await mkdir(join(models, 'weights'), { recursive: true })
  await rm(modelFolder(models, card.name), { recursive: true, force: true })
  await rename(folder, modelFolder(models, card.name))
}
