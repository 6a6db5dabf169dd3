/** What every command that talks to a server has in common: its options, finding the server, and the key. */
import type { Command } from 'commander'
import { askSecret } from './ask.ts'
import { ask, type Client, createClient } from './client.ts'
import { CliError } from './exit.ts'
import { type FoundServer, findServer, type ServerOptions } from './find-server.ts'
import { canAsk, type Terminal } from './terminal.ts'

export type Run<Options> = (context: {
  readonly client: Client
  readonly terminal: Terminal
  readonly options: Options & { readonly json?: true }
  /** The words after the command, in the order in which it declares them. */
  readonly words: readonly string[]
}) => Promise<void>

export const addServerOptions = (command: Command): Command =>
  command
    .option('--json', 'one JSON document on stdout, for machines')
    .option('--url <url>', 'where the server is (KEYHOUSE_URL)')
    .option('--admin-key <key>', 'seen by everybody on this machine: better set KEYHOUSE_ADMIN_KEY')
    .option('--data-dir <folder>', "the server's data directory, when it runs on this machine (KEYHOUSE_DATA_DIR)")

/** Gives `command` its action: find the server, then do what `run` does. */
export function onServer<Options = object>(command: Command, terminal: Terminal, run: Run<Options>): Command {
  return addServerOptions(command).action(async () => {
    // commander's options are what the declarations beside `run` say; it cannot know their types
    const options = command.opts<Options & ServerOptions & { json?: true }>()
    const client = await connect(options, terminal)
    await run({ client, terminal, options, words: command.processedArgs })
  })
}

async function connect(options: ServerOptions, terminal: Terminal): Promise<Client> {
  const server = findServer(options, terminal)
  return createClient(server, server.key ?? (await askForKey(server, terminal)))
}

async function askForKey(server: FoundServer, terminal: Terminal): Promise<{ value: string; from: string }> {
  // Nobody should look for a key only to learn that the server is down
  await ask(server, { method: 'GET', path: '/health/live' })
  if (!canAsk(terminal)) throw keyMissing(server)
  return { value: await askSecret(terminal, `Admin key of ${server.url}`), from: 'the prompt' }
}

const keyMissing = ({ url, accessFile }: FoundServer): CliError =>
  new CliError(
    'notAuthorized',
    `There is no admin key for ${url}. Set KEYHOUSE_ADMIN_KEY to one (sk-kh-admin-…), or name the running server's ` +
      `data directory with --data-dir; ${accessFile.path} was not used: ${accessFile.missing ?? 'it is for another server'}.`,
  )
