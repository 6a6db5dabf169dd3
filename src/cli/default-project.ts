/** The project that a command is about: the one that is named, else the first active one. */
import type { Client } from './client.ts'
import { CliError } from './exit.ts'
import { path } from './show.ts'
import type { Project } from './wire.ts'

export async function projectFor(client: Client, id: string | undefined): Promise<Project> {
  if (id !== undefined) return client.get(path`/v1/organization/projects/${id}`)
  const projects = await client.list<Project>('/v1/organization/projects', { order: 'asc' })
  const first = projects.find(({ status }) => status === 'active')
  if (first) return first
  throw new CliError('notFound', 'There is no active project. Create one: keyhouse projects create NAME')
}
