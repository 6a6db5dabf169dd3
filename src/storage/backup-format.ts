/**
 * What a backup is: gzip over lines of UTF-8 text.
 *
 *     keyhouse-backup {"format":1,"keyhouse":"0.1.0","schema":1,"created_at":"…","tables":[…],"secrets":{…}}
 *     table organizations
 *     {"id":"org-…", …}                  a row, as PostgreSQL writes and reads it: never parsed here, so nothing is rounded
 *     table users
 *     …
 *     end {"rows":{"organizations":1, …},"digest":"…"}
 *
 * One value does not survive: a column of type json that holds JSON's own null comes back as SQL's.
 *
 * The digest is over every byte before the last line: a cut or damaged file is recognised. It is SHA-256; with a passphrase
 * HMAC-SHA-256 under a key made from it, so that nobody who lacks the passphrase can change the file either.
 */
import { createHash, createHmac, type Hash, type Hmac } from 'node:crypto'
import { z } from 'zod'

export const backupFormat = 1
/** One row. What does not fit is refused when it is written, not when it is needed. */
export const lineBytesMax = 16 * 1024 * 1024

/** Why a backup cannot be written or restored, in one sentence for the operator. The database is as it was. */
export class BackupRefused extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'BackupRefused'
  }
}

const anyHeader = z.object({ format: z.int() })
const header = z.object({
  format: z.literal(backupFormat),
  keyhouse: z.string(),
  schema: z.int(),
  created_at: z.iso.datetime(),
  tables: z.array(z.object({ name: z.string(), columns: z.array(z.string()) })),
  secrets: z.union([
    z.strictObject({ pepper: z.hex(), sealing_key: z.hex() }),
    z.strictObject({ salt: z.base64(), sealed: z.base64() }),
  ]),
})
const trailer = z.object({ rows: z.record(z.string(), z.int().nonnegative()), digest: z.hex() })

export type BackupHeader = z.infer<typeof header>
export type BackupSecrets = BackupHeader['secrets']
export type BackupTrailer = z.infer<typeof trailer>

const headerWord = 'keyhouse-backup '
const tableWord = 'table '
const trailerWord = 'end '

export const headerLine = (content: BackupHeader): string => `${headerWord}${JSON.stringify(content)}\n`
export const tableLine = (name: string): string => `${tableWord}${name}\n`
export const trailerLine = (content: BackupTrailer): string => `${trailerWord}${JSON.stringify(content)}\n`

/** A line break can only stand between the members of a column of type json, where a space means the same. */
export function rowLine(row: string): string {
  if (Buffer.byteLength(row) >= lineBytesMax) {
    throw new BackupRefused(
      `A row is longer than ${lineBytesMax} bytes and does not fit into a backup: ${row.slice(0, 80)}…`,
    )
  }
  return row.includes('\n') ? `${row.replaceAll('\n', ' ')}\n` : `${row}\n`
}

export type Digest = Hash | Hmac

export const newDigest = (key: Buffer | undefined): Digest => (key ? createHmac('sha256', key) : createHash('sha256'))

export type BackupLine =
  | { readonly kind: 'row' }
  | { readonly kind: 'table'; readonly name: string }
  | { readonly kind: 'trailer'; readonly trailer: BackupTrailer }

const brace = 0x7b

/** @param line with its line break */
export function parseLine(line: Buffer): BackupLine {
  if (line[0] === brace) return { kind: 'row' }
  const text = line.toString('utf8').trimEnd()
  if (text.startsWith(tableWord)) return { kind: 'table', name: text.slice(tableWord.length) }
  const content = trailer.safeParse(contentOf(text, trailerWord))
  if (!content.success) throw damaged(content.error)
  return { kind: 'trailer', trailer: content.data }
}

/** @throws BackupRefused for other files, and for the formats of versions to come. */
export function parseHeader(line: Buffer): BackupHeader {
  const content = contentOf(line.toString('utf8'), headerWord)
  const format = anyHeader.safeParse(content)
  if (!format.success) throw new BackupRefused('This is not a Keyhouse backup.')
  if (format.data.format !== backupFormat) {
    throw new BackupRefused(
      `The backup has format ${format.data.format} and this Keyhouse reads format ${backupFormat}: restore it with a newer Keyhouse.`,
    )
  }
  const known = header.safeParse(content)
  if (!known.success) throw damaged(known.error)
  return known.data
}

function contentOf(line: string, word: string): unknown {
  if (!line.startsWith(word)) return undefined
  try {
    return JSON.parse(line.slice(word.length))
  } catch {
    // Not JSON is as good as nothing: both callers refuse it
    return undefined
  }
}

export const damaged = (cause?: unknown): BackupRefused =>
  new BackupRefused('The backup is cut off or damaged: fetch it again, or take another one.', { cause })
