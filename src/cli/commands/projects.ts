import type { Command } from 'commander'
import { dateTime } from '../amounts.ts'
import { onServer, type Run } from '../server-command.ts'
import { type Column, table } from '../table.ts'
import { print, printJson, type Terminal } from '../terminal.ts'
import type { Project } from '../wire.ts'
import { defineProjectUsers } from './project-users.ts'

export function define(command: Command, terminal: Terminal): void {
  onServer(
    command.command('list').description('all projects').option('--archived', 'archived ones too'),
    terminal,
    listProjects,
  )
  onServer(command.command('create').description('a new project').argument('<name>'), terminal, createProject)
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
