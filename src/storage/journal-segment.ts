/**
 * One file of the usage journal: lines of `<crc32 in hex> <json>`, then zeros up to the size that it was made with.
 *
 * The zeros make a durable write quick. One that lengthens its file changes what the file system keeps of the file, and waits
 * until that is on disk together with what others changed meanwhile, PostgreSQL above all. One into zeros waits for its own bytes.
 */
import { constants } from 'node:fs'
import { type FileHandle, open, readFile, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'

/** With so much a disk that refused has room for a few calls. */
const probeBytes = 64 * 1024
const newline = 0x0a

export class Segment {
  readonly path: string
  /** Of the lines in it. */
  bytes: number
  /** Records that the database does not have yet. */
  waiting = 0
  /** Undefined for one of an earlier run, to which nothing is added. */
  readonly #file: FileHandle | undefined

  constructor(path: string, bytes: number, file?: FileHandle) {
    this.path = path
    this.bytes = bytes
    this.#file = file
  }

  /** Makes a new file with room for so many bytes; it and its name are on disk when this resolves. */
  static async make(path: string, sizeBytes: number): Promise<Segment> {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_DSYNC
    const file = await open(path, flags, 0o600)
    // A disk that has no room for the zeros may have room for a few calls
    await writeAll(file, Buffer.alloc(sizeBytes), 0).catch(() => file.truncate(0))
    const directory = await open(dirname(path), constants.O_RDONLY)
    await directory.sync().finally(() => directory.close())
    return new Segment(path, 0, file)
  }

  /** Adds lines; they are durable when it resolves. When the disk refuses, none of them is there. */
  async write(lines: string): Promise<void> {
    const file = this.#open()
    const bytes = Buffer.from(lines)
    try {
      await writeAll(file, bytes, this.bytes)
    } catch (error) {
      // Half of them must not stand before what is written next
      await file.truncate(this.bytes)
      throw error
    }
    this.bytes += bytes.length
  }

  /** Whether the disk takes writes: writes blanks and takes them away again; cut in between, they are a torn last line. */
  async takesWrites(): Promise<boolean> {
    const file = this.#open()
    try {
      await writeAll(file, Buffer.alloc(probeBytes, ' '), this.bytes)
      await file.truncate(this.bytes)
      return true
    } catch {
      await file.truncate(this.bytes).catch(() => undefined)
      return false
    }
  }

  async close(): Promise<void> {
    await this.#file?.close()
  }

  async delete(): Promise<void> {
    await unlink(this.path).catch(ignoreMissing)
  }

  #open(): FileHandle {
    if (!this.#file) throw new Error(`nothing can be added to ${this.path}`)
    return this.#file
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, at + written)
    written += bytesWritten
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error
}

export const encodeRecord = (json: string): string => `${crc32(json).toString(16).padStart(8, '0')} ${json}\n`

export type SegmentContent = { readonly records: readonly string[]; readonly damaged: number; readonly bytes: number }

/**
 * The whole records of a segment. A last line without its end is torn, and forgotten: nobody was told that it is there. Other
 * bad lines are damage.
 */
export async function readSegment(path: string): Promise<SegmentContent> {
  const content = await readFile(path)
  const bytes = content.lastIndexOf(newline) + 1
  const lines = content.toString('utf8', 0, bytes).split('\n')
  lines.pop()
  const records: string[] = []
  let damaged = 0
  for (const line of lines) {
    const json = line.slice(9)
    if (encodeRecord(json) === `${line}\n`) records.push(json)
    else damaged += 1
  }
  return { records, damaged, bytes }
}
