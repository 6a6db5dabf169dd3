/** `keyhouse restore FILE`: the running server takes a backup in place of everything that it has, in one transaction. */
import { createReadStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { Command } from 'commander'
import { bytes, count } from '../amounts.ts'
import { confirm } from '../ask.ts'
import { messageOf, wrongUsage } from '../exit.ts'
import { type Progress, startProgress } from '../progress.ts'
import { onServer, type Run } from '../server-command.ts'
import { print, printJson, type Terminal } from '../terminal.ts'
import { upload } from '../upload.ts'
import type { Status } from '../wire.ts'

type RestoreOptions = { yes?: true }
type Restored = { tables: number; rows: number; schema: unknown }

export function define(command: Command, terminal: Terminal): void {
  command.argument('<file>', 'what `keyhouse backup` wrote').option('-y, --yes', 'do not ask')
  onServer<RestoreOptions>(command, terminal, restore)
}

const restore: Run<RestoreOptions> = async ({ client, terminal, options, words: [file = ''] }) => {
  const size = await sizeOfBackup(file)
  // Learned before anything is sent: that the server is there, and that this key may do it
  const { data_dir } = await client.get<Status>('/v1/platform/status')
  await confirm(terminal, options, {
    what: 'This replaces everything in the server.',
    question: `Replace everything in ${client.server.url} (${data_dir}) by ${file}?`,
  })
  const progress = startProgress(terminal)
  const pieces = counted(file, size, progress)
  const restored = await upload<Restored>(client, '/v1/platform/restore', { pieces, size }).finally(progress.end)
  if (options.json) return void printJson(terminal, restored)
  print(terminal, `Restored ${count(restored.rows)} rows in ${count(restored.tables)} tables from ${file}.`)
  print(terminal, 'Keys, projects, credit and usage are now those of the backup.')
}

const gzipMagic = '1f8b'

async function sizeOfBackup(file: string): Promise<number> {
  try {
    const handle = await open(file)
    return await readSize(handle).finally(() => handle.close())
  } catch (error) {
    throw wrongUsage(`${file} cannot be restored: ${messageOf(error)}.`)
  }
}

async function readSize(handle: FileHandle): Promise<number> {
  const { buffer } = await handle.read({ buffer: Buffer.alloc(2), position: 0 })
  if (buffer.toString('hex') !== gzipMagic) throw new Error('it is not what `keyhouse backup` writes')
  return (await handle.stat()).size
}

async function* counted(file: string, size: number, progress: Progress): AsyncGenerator<Uint8Array> {
  let bytesDone = 0
  for await (const piece of createReadStream(file)) {
    yield piece
    bytesDone += piece.length
    const part = bytesDone < size ? `restore, ${bytes(size)}` : 'restore, the server is finishing'
    progress.show({ part, bytesDone, bytesTotal: size })
  }
}
