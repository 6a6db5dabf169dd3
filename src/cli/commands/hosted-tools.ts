/** `keyhouse hosted-tools`: which tools that a provider runs itself the keys of a project may ask for. */
import type { Command } from 'commander'
import { wrongUsage } from '../exit.ts'
import { onServer, type Run } from '../server-command.ts'
import { ofProject, type ProjectOption, projectPlace } from '../settings-place.ts'
import { table } from '../table.ts'
import { print, printJson, type Terminal } from '../terminal.ts'
import type { HostedToolPermissions } from '../wire.ts'

export function define(command: Command, terminal: Terminal): void {
  const show = command.command('show').description('each tool, and whether it is enabled')
  onServer(ofProject(show), terminal, showTools)
  const enable = command.command('enable').description('calls may name these').argument('<tools...>', 'as web_search')
  onServer(ofProject(enable), terminal, setTools(true))
  const disable = command.command('disable').description('calls that name these are refused').argument('<tools...>')
  onServer(ofProject(disable), terminal, setTools(false))
}

const showTools: Run<ProjectOption> = async ({ client, terminal, options }) => {
  const { path } = await projectPlace(client, options.project)
  show(terminal, options, await client.get<HostedToolPermissions>(`${path}/hosted_tool_permissions`))
}

const setTools =
  (enabled: boolean): Run<ProjectOption> =>
  async ({ client, terminal, options, words }) => {
    const path = `${(await projectPlace(client, options.project)).path}/hosted_tool_permissions`
    const known = Object.keys(await client.get<HostedToolPermissions>(path))
    const tools = words.flat().map(tool => tool.replaceAll('-', '_'))
    const unknown = tools.find(tool => !known.includes(tool))
    if (unknown !== undefined) throw wrongUsage(`There is no hosted tool '${unknown}': ${known.join(', ')}.`)
    const body = Object.fromEntries(tools.map(tool => [tool, { enabled }]))
    show(terminal, options, await client.post<HostedToolPermissions>(path, body))
  }

function show(terminal: Terminal, { json }: { readonly json?: true }, permissions: HostedToolPermissions): void {
  if (json) return void printJson(terminal, permissions)
  const columns = [
    { title: 'tool', cell: ([tool]: Row) => tool },
    { title: 'enabled', cell: ([, { enabled }]: Row) => (enabled ? 'yes' : 'no') },
  ]
  print(terminal, table(terminal, columns, Object.entries(permissions)))
}

type Row = [tool: string, permission: { readonly enabled: boolean }]
