/** `keyhouse models pull`: the server fetches, this shows how far it is. Ctrl-C ends the showing, not the fetching. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { Client } from '../client.ts'
import { CliError, wrongUsage } from '../exit.ts'
import { readLines } from '../lines.ts'
import { startProgress } from '../progress.ts'
import { onServer, type Run } from '../server-command.ts'
import { path } from '../show.ts'
import { print, printJson, safeText, type Terminal } from '../terminal.ts'
import type { PlatformModel, PullLine } from '../wire.ts'

type PullOptions = { from?: string; sha256?: string }

export function definePull(command: Command, terminal: Terminal): void {
  command
    .argument('[model]', 'all that are not here yet, when not given')
    .option('--from <url|file>', 'a GGUF file from elsewhere; a path is one on the server')
    .option('--sha256 <hash>', 'of that file: what does not match is not loaded')
  onServer<PullOptions>(command, terminal, pullModels)
}

const pullModels: Run<PullOptions> = async ({ client, terminal, options, words: [name] }) => {
  const source = readSource(name, options)
  const names = name === undefined ? await namesMissing(client) : [name]
  for (const each of names) await pullOne(client, terminal, { name: each, source })
  const ready = names.map(each => ({ name: each, status: 'ready' }))
  if (options.json) printJson(terminal, { object: 'list', data: ready })
  else print(terminal, names.length === 0 ? 'Nothing to fetch.' : `Ready: ${names.join(', ')}.`)
}

function readSource(name: string | undefined, { from, sha256 }: PullOptions): object {
  if (from === undefined && sha256 === undefined) return {}
  if (name === undefined) throw wrongUsage('Give the model a name: keyhouse models pull NAME --from … --sha256 …')
  if (from === undefined || !/^[0-9a-f]{64}$/i.test(sha256 ?? ''))
    throw wrongUsage('--from and --sha256 (64 hexadecimal digits) go together: nothing is loaded that does not match.')
  return /^https?:\/\//.test(from) ? { from_url: from, sha256 } : { from_file: pathOnServer(from), sha256 }
}

/** The server reads the file, so its path must not depend on where we stand. */
const pathOnServer = (path: string): string => (existsSync(path) ? resolve(path) : path)

async function namesMissing(client: Client): Promise<string[]> {
  const models = await client.list<PlatformModel>('/v1/platform/models')
  const here = models.filter(({ local }) => local !== null)
  if (here.length > 0) return here.filter(({ local }) => local?.status !== 'ready').map(({ name }) => name)
  throw new CliError('notFound', 'This server runs no models itself: start it with the setting local-model = on.')
}

async function pullOne(
  client: Client,
  terminal: Terminal,
  { name, source }: { name: string; source: object },
): Promise<void> {
  const body = await client.stream('POST', path`/v1/platform/models/${name}/pull`, source)
  const progress = startProgress(terminal)
  try {
    for await (const line of readLines<PullLine>(body)) {
      if (line.status === 'ready') return
      if (line.status === 'failed') throw new CliError('failed', safeText(line.reason))
      progress.show({ part: line.part, bytesDone: line.bytes_done, bytesTotal: line.bytes_total })
    }
  } finally {
    progress.end()
  }
  throw new CliError(
    'failed',
    `The server stopped telling about ${name}. It goes on fetching; \`keyhouse models list\` shows how far it is.`,
  )
}
