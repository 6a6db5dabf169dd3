/**
 * One pull of a thing at a time, among all processes that share a data directory (the workers of one machine, a CLI
 * beside a server, containers on one volume). The lock is a file that its holder touches every second; one that has not
 * been touched for ten seconds belongs to a process that died. Process ids would not do: containers have their own.
 *
 * Should two processes ever hold it at once, the harm is a wrong hash: nothing unverified becomes a model.
 */
import { randomUUID } from 'node:crypto'
import { readFile, rm, stat, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

const touchMs = 1_000
export const staleMs = 10_000
const waitMs = 300

type Content = { readonly id: string; readonly percent: number }

const isStale = async (path: string): Promise<boolean> => {
  const found = await stat(path).catch(() => null)
  return found !== null && Date.now() - found.mtimeMs > staleMs
}

const tryTake = async (path: string, content: Content): Promise<boolean> => {
  try {
    await writeFile(path, JSON.stringify(content), { flag: 'wx' })
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

/** How far the holder is, in percent; `null` when nobody holds the lock. */
export const readPullLock = async (path: string): Promise<number | null> => {
  if (await isStale(path)) return null
  try {
    // written by `withPullLock` below, in this or another process of this version
    return (JSON.parse(await readFile(path, 'utf8')) as Content).percent
  } catch {
    // absent, or caught in the middle of a write: either way there is no number to show
    return null
  }
}

export type PullLockOptions = {
  readonly path: string
  readonly signal: AbortSignal
  /** What the lock shows to other processes. */
  readonly percent: () => number
  /** Called while somebody else holds it. */
  readonly onWait: (percent: number) => void
}

const take = async ({ path, signal, onWait }: PullLockOptions, id: string): Promise<void> => {
  while (!(await tryTake(path, { id, percent: 0 }))) {
    if (await isStale(path)) await rm(path, { force: true })
    else {
      onWait((await readPullLock(path)) ?? 0)
      await sleep(waitMs, undefined, { signal })
    }
  }
}

/** Waits for the lock, runs, and gives it back whatever happens. */
export const withPullLock = async <Result>(options: PullLockOptions, run: () => Promise<Result>): Promise<Result> => {
  const id = randomUUID()
  await take(options, id)
  let touching = Promise.resolve()
  const touch = (): void => {
    const content: Content = { id, percent: options.percent() }
    // a missed touch is made good by the next; ten in a row and another process may take over
    touching = writeFile(options.path, JSON.stringify(content)).catch(() => undefined)
  }
  const timer = setInterval(touch, touchMs)
  try {
    return await run()
  } finally {
    clearInterval(timer)
    await touching
    await rm(options.path, { force: true })
  }
}
