/**
 * `keyhouse backup FILE`: one consistent snapshot of a running server. FILE is whole or absent: it is written beside, read
 * back to its last checksum, and only then given its name. Readable by its owner only: it holds the server's secrets.
 */
import { createReadStream, createWriteStream } from 'node:fs'
import { rename, rm, stat } from 'node:fs/promises'
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import type { Command } from 'commander'
import { bytes } from '../amounts.ts'
import { CliError, messageOf, wrongUsage } from '../exit.ts'
import { type Progress, startProgress } from '../progress.ts'
import { onServer, type Run } from '../server-command.ts'
import { note, print, printJson, type Terminal } from '../terminal.ts'

export function define(command: Command, terminal: Terminal): void {
  command
    .argument('<file>', 'where to; - is stdout')
    .addHelpText('after', '\nNeeds an admin key with all permissions, or with api.platform.backup.')
  onServer(command, terminal, async context => {
    const [file = ''] = context.words
    await (file === '-' ? backUpToStdout(context) : backUpToFile(context))
  })
}

const backupPath = '/v1/platform/backup'

const backUpToStdout: Run<object> = async ({ client, terminal, options }) => {
  if (options.json) throw wrongUsage('--json and a backup cannot both go to stdout.')
  if (terminal.stdout.isTTY)
    throw wrongUsage('A backup is no text for a terminal. Redirect it: keyhouse backup - > FILE')
  const pieces = await client.stream('GET', backupPath)
  // process.stdout must stay open: whoever started us owns it
  await pipeline(pieces, terminal.stdout, { end: false }).catch(toCliError)
}

const backUpToFile: Run<object> = async ({ client, terminal, options, words: [file = ''] }) => {
  const partial = `${file}.partial`
  const pieces = await client.stream('GET', backupPath)
  const progress = startProgress(terminal)
  try {
    const size = await writeFlushed(partial, counted(pieces, progress))
    await checkGzip(partial)
    await rename(partial, file)
    progress.end()
    tellDone(file, size, options.json === true, terminal)
  } catch (error) {
    progress.end()
    // Where it could not be made it cannot be removed, and why it could not is what counts
    await rm(partial, { force: true }).catch(() => undefined)
    toCliError(error)
  }
}

async function* counted(pieces: AsyncIterable<Uint8Array>, progress: Progress): AsyncGenerator<Uint8Array> {
  let bytesDone = 0
  for await (const piece of pieces) {
    bytesDone += piece.length
    progress.show({ part: 'backup', bytesDone, bytesTotal: null })
    yield piece
  }
}

/** A file of that name that somebody else can read is not written into: it is removed first. */
async function writeFlushed(path: string, pieces: AsyncIterable<Uint8Array>): Promise<number> {
  await rm(path, { force: true })
  await pipeline(pieces, createWriteStream(path, { flags: 'wx', mode: 0o600, flush: true }))
  return (await stat(path)).size
}

const nowhere = (): Writable => new Writable({ write: (_piece, _encoding, done) => done() })

async function checkGzip(path: string): Promise<void> {
  try {
    await pipeline(createReadStream(path), createGunzip(), nowhere())
  } catch (cause) {
    throw new CliError('failed', 'The backup that came is not whole, so it was deleted. Try again.', { cause })
  }
}

function tellDone(file: string, size: number, json: boolean, terminal: Terminal): void {
  if (json) return void printJson(terminal, { object: 'backup', file, bytes: size })
  print(terminal, `Saved ${bytes(size)} to ${file}.`)
  note(terminal, 'It holds every secret of this server: whoever can read it can use its keys.')
}

function toCliError(error: unknown): never {
  if (error instanceof CliError) throw error
  throw new CliError('failed', `The backup could not be written: ${messageOf(error)}.`, { cause: error })
}
