/** A file as text for the scanner, or why not. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { fileBytesMax, type SkipReason } from './skipped.ts'

/** As git decides: a NUL in the beginning means binary. */
const binaryProbeBytes = 8_000

/** One buffer for all files: a scan reads them one after the other. */
let buffer = Buffer.allocUnsafe(1 << 20)

type Read = { readonly text: string; readonly bytes: number } | { readonly skip: SkipReason }

/** @returns bytes as Latin-1 */
export function readText(path: string): Read {
  let file: number | undefined
  try {
    // Neither follows a link out of the tree, nor waits for the other end of a pipe
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const { size, isFile } = statOf(file)
    if (!isFile) return { skip: 'no_file' }
    if (size > fileBytesMax) return { skip: 'too_large' }
    const beginning = readInto(file, 0, Math.min(size, binaryProbeBytes))
    if (isBinary(beginning)) return { skip: 'binary' }
    return decode(readInto(file, beginning.length, size))
  } catch (error) {
    return { skip: whyNotRead(error) }
  } finally {
    if (file !== undefined) closeSync(file)
  }
}

const skipReasons: Record<string, SkipReason> = { ENOENT: 'gone', ELOOP: 'no_file', ENXIO: 'no_file' }

const whyNotRead = (error: unknown): SkipReason =>
  (error instanceof Error && 'code' in error ? skipReasons[String(error.code)] : undefined) ?? 'unreadable'

function statOf(file: number): { size: number; isFile: boolean } {
  const stat = fstatSync(file)
  return { size: stat.size, isFile: stat.isFile() }
}

/** Reads on from where `length` bytes are in the buffer already. @returns all that is in it, up to `size` */
function readInto(file: number, length: number, size: number): Buffer {
  if (buffer.length < size) buffer = Buffer.concat([buffer.subarray(0, length)], size)
  let end = length
  for (let read = -1; read !== 0 && end < size; end += read) read = readSync(file, buffer, end, size - end, null)
  return buffer.subarray(0, end)
}

const isBinary = (beginning: Buffer): boolean => !hasUtf16Mark(beginning) && beginning.includes(0)

const decode = (bytes: Buffer): Read => ({
  text: hasUtf16Mark(bytes) ? utf16Text(bytes) : bytes.toString('latin1'),
  bytes: bytes.length,
})

/** As what Windows' PowerShell writes by `>` begins. */
const hasUtf16Mark = (bytes: Buffer): boolean =>
  (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)

function utf16Text(bytes: Buffer): string {
  if (bytes[0] === 0xff) return bytes.toString('utf16le', 2)
  const even = bytes.subarray(2, bytes.length - (bytes.length % 2))
  return Buffer.from(even).swap16().toString('utf16le')
}
