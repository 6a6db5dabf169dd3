import type { Command } from 'commander'
import { dateTime } from '../amounts.ts'
import { confirm } from '../ask.ts'
import { onServer, type Run } from '../server-command.ts'
import { path, show, showList } from '../show.ts'
import { type Column, table } from '../table.ts'
import { print, printJson, safeText, type Terminal } from '../terminal.ts'
import type { Project, ProjectGroup } from '../wire.ts'
import { defineProjectUsers } from './project-users.ts'

export function define(command: Command, terminal: Terminal): void {
  onServer(
    command.command('list').description('all projects').option('--archived', 'archived ones too'),
    terminal,
    listProjects,
  )
  onServer(command.command('create').description('a new project').argument('<name>'), terminal, createProject)
  const of = (name: string, about: string): Command =>
    command.command(name).description(about).argument('<project>', 'proj_…')
  onServer(of('rename', 'give it another name').argument('<name>'), terminal, renameProject)
  const archive = of('archive', 'refuse its keys for ever, within a second; its usage stays to be read')
  onServer(archive.option('-y, --yes', 'do not ask'), terminal, archiveProject)
  onServer(of('groups', 'the groups that have access to it'), terminal, listProjectGroups)
  defineProjectUsers(command.command('users').description('the members of a project'), terminal)
}

const columns: readonly Column<Project>[] = [
  { title: 'id', cell: ({ id }) => id },
  { title: 'name', cell: ({ name }) => name },
  { title: 'status', cell: ({ status }) => status },
  { title: 'created (UTC)', cell: ({ created_at }) => dateTime(created_at) },
]

const listProjects: Run<{ archived?: true }> = async ({ client, terminal, options }) => {
  const query = { include_archived: options.archived ? 'true' : undefined }
  const projects = await client.list<Project>('/v1/organization/projects', query)
  if (options.json) printJson(terminal, { object: 'list', data: projects })
  else print(terminal, table(terminal, columns, projects))
}

const createProject: Run<object> = async ({ client, terminal, options, words: [name = ''] }) => {
  const project = await client.post<Project>('/v1/organization/projects', { name })
  if (options.json) return void printJson(terminal, project)
  print(terminal, `Created the project ${name} (${project.id}).`)
  print(terminal, `Its first key: keyhouse keys create --project ${project.id}`)
}

const renameProject: Run<object> = async context => {
  const [id = '', name = ''] = context.words
  const project = await context.client.post<Project>(path`/v1/organization/projects/${id}`, { name })
  show(context, project, `${id} is named ${safeText(name)} now.`)
}

const archiveProject: Run<{ yes?: true }> = async context => {
  const { client, terminal, options, words } = context
  const [id = ''] = words
  const where = path`/v1/organization/projects/${id}`
  const { name } = await client.get<Project>(where)
  await confirm(terminal, options, {
    what: 'An archived project never comes back.',
    question: `Archive ${safeText(name)} (${id}) for ever?`,
  })
  const project = await client.post<Project>(`${where}/archive`, {})
  show(context, project, `Archived ${safeText(name)} (${id}). Every server refuses its keys within a second.`)
}

const groupColumns: readonly Column<ProjectGroup>[] = [
  { title: 'id', cell: ({ group_id }) => group_id },
  { title: 'name', cell: ({ group_name }) => group_name },
  { title: 'role', cell: ({ role }) => role },
  { title: 'since (UTC)', cell: ({ created_at }) => dateTime(created_at) },
]

const listProjectGroups: Run<object> = async context => {
  const [id = ''] = context.words
  const groups = await context.client.list<ProjectGroup>(path`/v1/organization/projects/${id}/groups`)
  showList(context, groups, { columns: groupColumns, none: `None. Give one access: keyhouse groups grant GROUP ${id}` })
}
