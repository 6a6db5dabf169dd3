/** `keyhouse restore FILE`: the running server takes a backup in place of everything that it has, in one transaction. */
import { createReadStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { Command } from 'commander'
import { bytes, count } from '../amounts.ts'
import { confirm } from '../ask.ts'
import { CliError, messageOf, wrongUsage } from '../exit.ts'
import { type Progress, startProgress } from '../progress.ts'
import { onServer, type Run } from '../server-command.ts'
import { print, printJson, type Terminal } from '../terminal.ts'
import { upload } from '../upload.ts'
import type { Me } from '../wire.ts'

type RestoreOptions = { yes?: true }
type Restored = { tables: number; rows: number; schema: unknown }

export function define(command: Command, terminal: Terminal): void {
  command
    .argument('<file>', 'what `keyhouse backup` wrote')
    .option('-y, --yes', 'do not ask')
    .addHelpText(
      'after',
      `\nNeeds an admin key with all permissions, or with ${scope}: api.platform.write is not enough.`,
    )
  onServer<RestoreOptions>(command, terminal, restore)
}

const restore: Run<RestoreOptions> = async ({ client, terminal, options, words: [file = ''] }) => {
  const size = await sizeOfBackup(file)
  // Learned before anything is asked or sent: that the server is there, and that this key may do it
  const { effective_scopes, organization } = await client.get<Me>('/v1/me')
  if (!effective_scopes.includes(scope)) throw mayNot()
  await confirm(terminal, options, {
    what: 'This replaces everything in the server.',
    question: `Replace everything in ${client.server.url} (${organization.name}) by ${file}?`,
  })
  const progress = startProgress(terminal)
  const pieces = counted(file, size, progress)
  const restored = await upload<Restored>(client, '/v1/platform/restore', { pieces, size }).finally(progress.end)
  if (options.json) return void printJson(terminal, restored)
  print(terminal, `Restored ${count(restored.rows)} rows in ${count(restored.tables)} tables from ${file}.`)
  print(terminal, 'Keys, projects, credit and usage are now those of the backup.')
}

const scope = 'api.platform.restore'

const mayNot = (): CliError =>
  new CliError(
    'notAuthorized',
    `This key may not restore: missing scope ${scope}. Use an admin key with all permissions, or with that one.`,
  )

const gzipMagic = '1f8b'

async function sizeOfBackup(file: string): Promise<number> {
  try {
    const handle = await open(file)
    return await readSize(handle).finally(() => handle.close())
  } catch (error) {
    throw wrongUsage(`'${file}' cannot be restored: ${messageOf(error)}.`)
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
