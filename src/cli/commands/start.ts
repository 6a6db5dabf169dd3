/** `keyhouse start`: the server, in this process. The only command that is not a client of the API. */
import type { Command } from 'commander'
import { CliError } from '../exit.ts'
import { addSettings, readSettings } from '../settings-options.ts'
import type { Terminal } from '../terminal.ts'

export function define(command: Command, terminal: Terminal): void {
  addSettings(command).action(async () => {
    const config = readSettings(command, terminal)
    const { serve } = await import('#src/main.ts')
    await serve(config).catch(explain)
  })
}

/** A plain Error is a sentence for the operator; its kin (TypeError …) are bugs, and keep their stack. */
function explain(error: unknown): never {
  const isSentence = error instanceof Error && error.constructor === Error
  throw isSentence ? new CliError('failed', error.message, { cause: error }) : error
}
