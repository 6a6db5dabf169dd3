/** `keyhouse providers`: whose models can be called through this server, and with which credential. */
import type { Command } from 'commander'
import { onServer, type Run } from '../server-command.ts'
import { onePart } from '../show.ts'
import { type Column, table } from '../table.ts'
import { print, printJson, type Terminal } from '../terminal.ts'
import type { Provider } from '../wire.ts'
import { defineAdd } from './providers-add.ts'

const providersPath = '/v1/platform/providers'

export function define(command: Command, terminal: Terminal): void {
  defineAdd(command.command('add').description('connect a provider, or change one'), terminal)
  onServer(command.command('list').description('all providers'), terminal, listProviders)
  const remove = command
    .command('remove')
    .description('disconnect a provider; its credential is deleted')
    .argument('<name>')
  onServer(remove, terminal, removeProvider)
}

const namesShownMax = 3

const columns: readonly Column<Provider>[] = [
  { title: 'name', cell: ({ name }) => name },
  { title: 'base url', cell: ({ base_url }) => base_url ?? 'built in' },
  { title: 'credential', cell: ({ credential_hint, base_url }) => credential_hint ?? (base_url ? 'none' : '') },
  { title: 'models', cell: ({ models }) => showNames(models) },
  { title: 'without a price', cell: ({ unpriced_models }) => showNames(unpriced_models) },
]

function showNames(names: readonly string[]): string {
  const more = names.length - namesShownMax
  return names.slice(0, namesShownMax).join(', ') + (more > 0 ? ` and ${more} more` : '')
}

const listProviders: Run<object> = async ({ client, terminal, options }) => {
  const providers = await client.list<Provider>(providersPath)
  if (options.json) printJson(terminal, { object: 'list', data: providers })
  else print(terminal, table(terminal, columns, providers))
}

const removeProvider: Run<object> = async ({ client, terminal, options, words: [name = ''] }) => {
  const removed = await client.delete<object>(`${providersPath}/${onePart(name)}`)
  if (options.json) printJson(terminal, removed)
  else print(terminal, `Removed ${name}. Models that only it had answer 404 from now on.`)
}
