/** `keyhouse keys`: project keys call models; admin keys (--admin) manage the organization. */
import type { Command } from 'commander'
import { ago, dateTime } from '../amounts.ts'
import type { Client } from '../client.ts'
import { adminKeys, anyKeyPath, keysOf } from '../find-key.ts'
import { onServer, type Run } from '../server-command.ts'
import { details, path, show } from '../show.ts'
import { type Column, table } from '../table.ts'
import { print, printJson, type Terminal } from '../terminal.ts'
import type { AdminKey, Project, ProjectKey } from '../wire.ts'
import { defineBudget } from './keys-budget.ts'
import { defineChanges } from './keys-change.ts'
import { defineCreate } from './keys-create.ts'
import { defineWatch } from './keys-watch.ts'

export function define(command: Command, terminal: Terminal): void {
  defineCreate(command.command('create').description('a new key, shown once'), terminal)
  const list = command
    .command('list')
    .description('keys with their last use; the secret itself is kept nowhere')
    .option('--project <id>', 'of this project only')
    .option('--admin', 'the admin keys')
  onServer(list, terminal, listKeys)
  const one = command
    .command('show')
    .description('all that is set on a key; the secret itself is kept nowhere')
    .argument('<id>', 'key_…, as `keyhouse keys list` shows it')
    .option('--project <id>', 'the project that it belongs to; found when not given')
  onServer(one, terminal, showKey)
  const revoke = command
    .command('revoke')
    .description('refuse a key everywhere, within a second and for ever')
    .argument('<id>', 'key_…, as `keyhouse keys list` shows it')
    .option('--project <id>', 'the project that it belongs to; found when not given')
  onServer(revoke, terminal, revokeKey)
  defineChanges(command, terminal)
  defineBudget(command.command('budget').description('the most that a key may spend'), terminal)
  defineWatch(command, terminal)
}

type ListedKey = AdminKey | (ProjectKey & { project: Project })

const adminColumns = (nowMs: number): readonly Column<ListedKey>[] => [
  { title: 'id', cell: ({ id }) => id },
  { title: 'name', cell: ({ name }) => name },
  { title: 'key', cell: ({ redacted_value }) => redacted_value },
  { title: 'last used', cell: ({ last_used_at }) => ago(last_used_at, nowMs) },
  { title: 'expires (UTC)', cell: ends },
]

const projectColumns = (nowMs: number): readonly Column<ListedKey>[] => [
  ...adminColumns(nowMs).slice(0, 3),
  { title: 'project', cell: key => ('project' in key ? key.project.name : '') },
  { title: 'may', cell: key => ('project' in key ? may(key) : '') },
  ...adminColumns(nowMs).slice(3),
]

function ends(key: ListedKey): string {
  const at = key.expires_at === null ? 'never' : dateTime(key.expires_at)
  return 'rotation_due' in key && key.rotation_due ? `${at}; rotation is due` : at
}

const sleeping: Partial<Record<ProjectKey['status'], string>> = {
  disabled: 'nothing: disabled',
  asleep: 'nothing yet: a backup',
  expired: 'nothing: expired',
}

function may({ scopes, owner_project_access: access, kind, status }: ProjectKey): string {
  if (access === 'inactive') return 'nothing: inactive'
  const asleep = sleeping[status]
  if (asleep !== undefined) return asleep
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
    : [await client.get<Project>(path`/v1/organization/projects/${id}`)]

const showKey: Run<{ project?: string }> = async context => {
  const { client, options, words } = context
  const key = await client.get<AdminKey | ProjectKey>(await anyKeyPath(client, words[0] ?? '', options.project))
  show(context, key, details({ ...key, ...datesOf(key), owner: ownerOf(key) }))
}

/** As people read them; --json has the seconds. */
const datesOf = (key: AdminKey | ProjectKey): Record<string, string> =>
  Object.fromEntries(
    Object.entries(key).flatMap(([name, value]) =>
      name.endsWith('_at') && typeof value === 'number' ? [[name, `${dateTime(value)} UTC`]] : [],
    ),
  )

function ownerOf({ owner }: AdminKey | ProjectKey): string {
  const one = 'id' in owner ? owner : (owner.user ?? owner.service_account)
  return one === undefined ? 'nobody' : `${one.name} (${one.id})`
}

const revokeKey: Run<{ project?: string }> = async ({ client, terminal, options, words: [id = ''] }) => {
  const deleted = await client.delete<object>(await anyKeyPath(client, id, options.project))
  if (options.json) printJson(terminal, deleted)
  else print(terminal, `Revoked ${id}. Every server refuses it within a second, and its running streams are cut.`)
}
