/** `keyhouse keys`: project keys call models; admin keys (--admin) manage the organization. */
import type { Command } from 'commander'
import { ago, dateTime } from '../amounts.ts'
import type { Client } from '../client.ts'
import { CliError } from '../exit.ts'
import { onServer, type Run } from '../server-command.ts'
import { type Column, table } from '../table.ts'
import { print, printJson, type Terminal } from '../terminal.ts'
import type { AdminKey, Project, ProjectKey } from '../wire.ts'
import { defineCreate } from './keys-create.ts'

const adminKeys = '/v1/organization/admin_api_keys'
const keysOf = (project: string): string => `/v1/organization/projects/${encodeURIComponent(project)}/api_keys`

export function define(command: Command, terminal: Terminal): void {
  defineCreate(command.command('create').description('a new key, shown once'), terminal)
  const list = command
    .command('list')
    .description('keys with their last use; the secret itself is kept nowhere')
    .option('--project <id>', 'of this project only')
    .option('--admin', 'the admin keys')
  onServer(list, terminal, listKeys)
  const revoke = command
    .command('revoke')
    .description('refuse a key everywhere, within a second and for ever')
    .argument('<id>', 'key_…, as `keyhouse keys list` shows it')
    .option('--project <id>', 'the project that it belongs to; found when not given')
  onServer(revoke, terminal, revokeKey)
}

type ListedKey = AdminKey | (ProjectKey & { project: Project })

const adminColumns = (nowMs: number): readonly Column<ListedKey>[] => [
  { title: 'id', cell: ({ id }) => id },
  { title: 'name', cell: ({ name }) => name },
  { title: 'key', cell: ({ redacted_value }) => redacted_value },
  { title: 'last used', cell: ({ last_used_at }) => ago(last_used_at, nowMs) },
  { title: 'expires (UTC)', cell: ({ expires_at }) => (expires_at === null ? 'never' : dateTime(expires_at)) },
]

const projectColumns = (nowMs: number): readonly Column<ListedKey>[] => [
  ...adminColumns(nowMs).slice(0, 3),
  { title: 'project', cell: key => ('project' in key ? key.project.name : '') },
  { title: 'may', cell: key => ('project' in key ? may(key) : '') },
  ...adminColumns(nowMs).slice(3),
]

function may({ scopes, owner_project_access: access, kind }: ProjectKey): string {
  if (access === 'inactive') return 'nothing: inactive'
  if (scopes.length === 0) return kind === 'test' ? 'call test models' : 'everything'
  return scopes.includes('api.all.read') ? 'read only' : scopes.join(', ')
}

const listKeys: Run<{ project?: string; admin?: true }> = async ({ client, terminal, options }) => {
  const keys = options.admin ? await client.list<AdminKey>(adminKeys) : await projectKeys(client, options.project)
  if (options.json) return void printJson(terminal, { object: 'list', data: keys.map(toWire) })
  const columns = (options.admin ? adminColumns : projectColumns)(terminal.now())
  print(terminal, keys.length === 0 ? 'No keys. Create one: keyhouse keys create' : table(terminal, columns, keys))
}

function toWire(key: ListedKey): object {
  if (!('project' in key)) return key
  const { project, ...rest } = key
  return { ...rest, project_id: project.id }
}

async function projectKeys(client: Client, projectId: string | undefined) {
  const projects = await projectsOf(client, projectId)
  const lists: (ProjectKey & { project: Project })[][] = []
  for (const project of projects) {
    const keys = await client.list<ProjectKey>(keysOf(project.id))
    lists.push(keys.map(key => ({ ...key, project })))
  }
  return lists.flat()
}

const projectsOf = async (client: Client, id: string | undefined): Promise<Project[]> =>
  id === undefined
    ? client.list<Project>('/v1/organization/projects', { include_archived: 'true' })
    : [await client.get<Project>(`/v1/organization/projects/${encodeURIComponent(id)}`)]

const revokeKey: Run<{ project?: string }> = async ({ client, terminal, options, words: [id = ''] }) => {
  const path =
    options.project === undefined ? await findKey(client, id) : `${keysOf(options.project)}/${encodeURIComponent(id)}`
  const deleted = await client.delete<object>(path)
  if (options.json) printJson(terminal, deleted)
  else print(terminal, `Revoked ${id}. Every server refuses it within a second, and its running streams are cut.`)
}

/** A key's id does not say where it lives: look among the admin keys, then in each project. */
async function findKey(client: Client, id: string): Promise<string> {
  const projects = await client.list<Project>('/v1/organization/projects', { include_archived: 'true' })
  const folders = [adminKeys, ...projects.map(project => keysOf(project.id))]
  for (const folder of folders) {
    const path = `${folder}/${encodeURIComponent(id)}`
    if (await exists(client, path)) return path
  }
  throw new CliError(
    'notFound',
    `There is no key ${id}. \`keyhouse keys list\` and \`keyhouse keys list --admin\` show them.`,
  )
}

async function exists(client: Client, path: string): Promise<boolean> {
  try {
    await client.get(path)
    return true
  } catch (error) {
    if (error instanceof CliError && error.reason === 'notFound') return false
    throw error
  }
}
