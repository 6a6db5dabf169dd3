/** What a pull needs from the disk: the hash of a file, room for more, and files that survive a power cut. */
import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { open, statfs } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'

/** Lower-case hexadecimal. */
export const sha256OfFile = async (path: string, signal: AbortSignal): Promise<string> => {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash, { signal })
  return hash.digest('hex')
}

/** True when the file is there, with exactly these bytes. */
export const hasSha256 = async (path: string, sha256: string, signal: AbortSignal): Promise<boolean> => {
  try {
    return (await sha256OfFile(path, signal)) === sha256
  } catch (error) {
    signal.throwIfAborted()
    if (isMissing(error)) return false
    throw error
  }
}

const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')

const gib = (bytes: number): string => `${(bytes / 1024 ** 3).toFixed(2)} GiB`

/** Refuses before anything is fetched, because a disk filled to the last byte would stop the database too. */
export const requireSpace = async (folder: string, bytes: number, what: string): Promise<void> => {
  const { bavail, bsize } = await statfs(folder)
  if (bavail * bsize >= bytes) return
  throw new Error(
    `Fetching ${what} needs ${gib(bytes)} in ${folder}, and only ${gib(bavail * bsize)} are free there. ` +
      'Free some space, or choose another data directory (--data-dir).',
  )
}

/** Adds the bytes of one file to the end of another. */
export const appendFile = async (from: string, to: string, signal: AbortSignal): Promise<void> => {
  await pipeline(createReadStream(from), createWriteStream(to, { flags: 'a' }), { signal })
}

/** Returns when the file's bytes are on the disk, so that a later rename can be believed after a power cut. */
export const flushToDisk = async (path: string): Promise<void> => {
  const file = await open(path, 'r+')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}
