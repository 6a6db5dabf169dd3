/**
 * Reads a backup in bounded batches and believes nothing: what it has given out is good only when it has come to its end
 * without an error. Row counts and digest are compared there.
 */
import { pipeline, type Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import {
  type BackupHeader,
  type BackupTrailer,
  type Digest,
  damaged,
  lineBytesMax,
  newDigest,
  parseHeader,
  parseLine,
} from './backup-format.ts'
import { unpackSecrets } from './backup-secrets.ts'
import type { Secrets } from './secrets.ts'

export type Batch = { readonly table: string; readonly rows: readonly string[] }

export type OpenBackup = {
  readonly header: BackupHeader
  readonly secrets: Secrets
  /** To be read to its end. */
  readonly batches: AsyncGenerator<Batch>
}

const batchRowsMax = 500
const batchCharsMax = 1024 * 1024
const lineBreak = 0x0a

/** @throws BackupRefused when it is no backup, cut, damaged, or the passphrase is not its own. */
export async function openBackup(source: Readable, passphrase: string | undefined): Promise<OpenBackup> {
  const lines = linesOf(source)
  const first = await lines.next()
  if (first.done) throw damaged()
  const header = parseHeader(first.value)
  const { secrets, signingKey } = await unpackSecrets(header.secrets, passphrase)
  const digest = newDigest(signingKey).update(first.value)
  return { header, secrets, batches: inBatches(rowsOf(lines, header, digest)) }
}

type Row = { readonly table: string; readonly row: string }

/** Ends only after a trailer that fits what came before it. */
async function* rowsOf(lines: AsyncGenerator<Buffer>, header: BackupHeader, digest: Digest): AsyncGenerator<Row> {
  const counts = new Map(header.tables.map(({ name }) => [name, 0]))
  let table = ''
  for await (const line of lines) {
    const parsed = parseLine(line)
    if (parsed.kind === 'trailer') {
      verify(parsed.trailer, counts, digest)
      if (!(await lines.next()).done) throw damaged()
      return
    }
    digest.update(line)
    if (parsed.kind === 'table') {
      table = parsed.name
      continue
    }
    const count = counts.get(table)
    if (count === undefined) throw damaged()
    counts.set(table, count + 1)
    yield { table, row: line.toString('utf8', 0, line.length - 1) }
  }
  throw damaged()
}

function verify({ rows, digest: said }: BackupTrailer, counts: ReadonlyMap<string, number>, digest: Digest): void {
  const right = [...counts].every(([table, count]) => rows[table] === count)
  if (!right || digest.digest('hex') !== said) throw damaged()
}

async function* inBatches(rows: AsyncIterable<Row>): AsyncGenerator<Batch> {
  let batch = { table: '', rows: [] as string[], chars: 0 }
  for await (const { table, row } of rows) {
    const full = batch.rows.length === batchRowsMax || batch.chars >= batchCharsMax
    if (full || table !== batch.table) {
      if (batch.rows.length > 0) yield batch
      batch = { table, rows: [], chars: 0 }
    }
    batch.rows.push(row)
    batch.chars += row.length
  }
  if (batch.rows.length > 0) yield batch
}

/** Not node:readline, which also breaks lines at U+2028 and at a lone carriage return. */
async function* linesOf(source: Readable): AsyncGenerator<Buffer> {
  let rest: Buffer[] = []
  let restBytes = 0
  for await (const chunk of unzipped(source)) {
    let start = 0
    for (let end = chunk.indexOf(lineBreak); end >= 0; end = chunk.indexOf(lineBreak, start)) {
      const piece = chunk.subarray(start, end + 1)
      yield restBytes > 0 ? Buffer.concat([...rest, piece]) : piece
      rest = []
      restBytes = 0
      start = end + 1
    }
    if (start < chunk.length) rest.push(chunk.subarray(start))
    restBytes += chunk.length - start
    if (restBytes > lineBytesMax) throw damaged()
  }
  if (restBytes > 0) throw damaged()
}

async function* unzipped(source: Readable): AsyncGenerator<Buffer> {
  const gunzip = createGunzip()
  // Its errors, and those of the source, come out of gunzip
  pipeline(source, gunzip, () => undefined)
  try {
    yield* gunzip
  } catch (error) {
    throw isAboutZip(error) ? damaged(error) : error
  }
}

/** Z_BUF_ERROR: it ends too early. Z_DATA_ERROR: it is something else, or its checksum is wrong. */
const isAboutZip = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && String(error.code).startsWith('Z_')
