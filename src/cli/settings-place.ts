/** Whose settings a command is about: a project's, or the organization's. */
import type { Command } from 'commander'
import type { Client } from './client.ts'
import { CliError } from './exit.ts'
import { safeText } from './terminal.ts'
import type { Project } from './wire.ts'

export type ProjectOption = { project?: string }

/** Where an address in the API begins, and what people call it. */
export type SettingsPlace = { readonly path: string; readonly name: string }

export const ofProject = (command: Command): Command =>
  command.option('--project <id>', 'the project; the first active one when not given')

export const ofEither = (command: Command): Command =>
  command.option('--project <id>', 'of this project; of the organization when not given')

export async function projectPlace(client: Client, id: string | undefined): Promise<SettingsPlace> {
  const project = await projectFor(client, id)
  return { path: `/v1/organization/projects/${encodeURIComponent(project.id)}`, name: safeText(project.name) }
}

export const eitherPlace = async (client: Client, id: string | undefined): Promise<SettingsPlace> =>
  id === undefined ? { path: '/v1/organization', name: 'the organization' } : projectPlace(client, id)

async function projectFor(client: Client, id: string | undefined): Promise<Project> {
  if (id !== undefined) return client.get(`/v1/organization/projects/${encodeURIComponent(id)}`)
  const projects = await client.list<Project>('/v1/organization/projects', { order: 'asc' })
  const first = projects.find(({ status }) => status === 'active')
  if (first) return first
  throw new CliError('notFound', 'There is no active project. Create one: keyhouse projects create NAME')
}
