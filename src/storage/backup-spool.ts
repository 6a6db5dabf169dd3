/**
 * A backup that is being received, kept on disk until it has been checked whole: nobody should wait for a slow sender with
 * the tables locked. The file has no name once it is open, so that nothing of it remains, not even after kill -9.
 */
import { randomUUID } from 'node:crypto'
import { type FileHandle, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { BackupRefused } from './backup-format.ts'

export type Spool = {
  /** What the source gives, kept on the way. The source is left to the caller: it may be a request that wants an answer. */
  receive(source: Readable): Readable
  /** From the beginning, as often as wanted. */
  read(): Readable
  close(): Promise<void>
}

/** @param stallTimeoutMs how long the source may give nothing */
export async function openSpool(directory: string, stallTimeoutMs: number): Promise<Spool> {
  const path = join(directory, `keyhouse-restore-${randomUUID()}`)
  const file = await open(path, 'wx+', 0o600)
  await unlink(path)
  return {
    receive: source => Readable.from(kept(source, file, stallTimeoutMs), { objectMode: false }),
    read: () => file.createReadStream({ start: 0, autoClose: false }),
    close: () => file.close(),
  }
}

async function* kept(source: Readable, file: FileHandle, stallTimeoutMs: number): AsyncGenerator<Buffer> {
  // Asked by hand: a for-await would destroy the source when we refuse what it sends
  const chunks = source[Symbol.asyncIterator]()
  for (;;) {
    const { value: chunk, done } = await soonEnough(chunks.next(), stallTimeoutMs)
    if (done) return
    await file.writeFile(chunk)
    yield chunk
  }
}

async function soonEnough<Result>(next: Promise<Result>, timeoutMs: number): Promise<Result> {
  const timer = new AbortController()
  const stalled = sleep(timeoutMs, undefined, { signal: timer.signal }).then(() => {
    throw new BackupRefused(`The restore was given up: nothing came for ${timeoutMs / 1000} seconds.`)
  })
  try {
    return await Promise.race([next, stalled])
  } finally {
    stalled.catch(() => undefined)
    timer.abort()
  }
}
