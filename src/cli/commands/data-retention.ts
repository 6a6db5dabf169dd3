/** `keyhouse data-retention`: what is kept of the content of calls. */
import { Argument, type Command } from 'commander'
import { onServer, type Run } from '../server-command.ts'
import { eitherPlace, ofEither, type ProjectOption } from '../settings-place.ts'
import { print, printJson, type Terminal } from '../terminal.ts'
import type { DataRetention, RetentionType } from '../wire.ts'

export function define(command: Command, terminal: Terminal): void {
  const show = command.command('show').description('what is set')
  onServer<ProjectOption>(ofEither(show), terminal, async ({ client, options }) => {
    const { path, name } = await eitherPlace(client, options.project)
    say(terminal, options, name, await client.get<DataRetention>(`${path}/data_retention`))
  })
  const type = new Argument('<type>', 'of a project also none and organization_default').choices(types)
  const set = command.command('set').description('set it').addArgument(type)
  onServer(ofEither(set), terminal, setRetention)
}

const types: readonly RetentionType[] = [
  'zero_data_retention',
  'enhanced_zero_data_retention',
  'modified_abuse_monitoring',
  'enhanced_modified_abuse_monitoring',
  'none',
  'organization_default',
]

const setRetention: Run<ProjectOption> = async ({ client, terminal, options, words: [type = ''] }) => {
  const { path, name } = await eitherPlace(client, options.project)
  say(terminal, options, name, await client.post<DataRetention>(`${path}/data_retention`, { retention_type: type }))
}

function say(terminal: Terminal, { json }: { readonly json?: true }, name: string, retention: DataRetention): void {
  if (json) printJson(terminal, retention)
  else print(terminal, `Data retention of ${name}: ${retention.type}.`)
}
