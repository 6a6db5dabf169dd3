/** Whose settings a command is about: a project's, or the organization's. */
import type { Command } from 'commander'
import type { Client } from './client.ts'
import { projectFor } from './default-project.ts'
import { path } from './show.ts'
import { safeText } from './terminal.ts'

export type ProjectOption = { project?: string }

/** Where an address in the API begins, and what people call it. */
export type SettingsPlace = { readonly path: string; readonly name: string }

export const ofProject = (command: Command): Command =>
  command.option('--project <id>', 'the project; the first active one when not given')

export const ofEither = (command: Command): Command =>
  command.option('--project <id>', 'of this project; of the organization when not given')

export async function projectPlace(client: Client, id: string | undefined): Promise<SettingsPlace> {
  const project = await projectFor(client, id)
  return { path: path`/v1/organization/projects/${project.id}`, name: safeText(project.name) }
}

export const eitherPlace = async (client: Client, id: string | undefined): Promise<SettingsPlace> =>
  id === undefined ? { path: '/v1/organization', name: 'the organization' } : projectPlace(client, id)
