/** Where a key lives: its id does not say whether it is an admin key, nor of which project. */
import type { Client } from './client.ts'
import { CliError } from './exit.ts'
import { onePart, path } from './show.ts'
import type { Project } from './wire.ts'

export const adminKeys = '/v1/organization/admin_api_keys'
export const keysOf = (project: string): string => path`/v1/organization/projects/${project}/api_keys`

/** The path of a project's key. */
export const projectKeyPath = (client: Client, id: string, project: string | undefined): Promise<string> =>
  project === undefined ? findKey(client, id, []) : Promise.resolve(keyPath(keysOf(project), id))

/** The path of any key. */
export const anyKeyPath = (client: Client, id: string, project: string | undefined): Promise<string> =>
  project === undefined ? findKey(client, id, [adminKeys]) : projectKeyPath(client, id, project)

/** Looks in `first`, then in each project. */
async function findKey(client: Client, id: string, first: readonly string[]): Promise<string> {
  const projects = await client.list<Project>('/v1/organization/projects', { include_archived: 'true' })
  for (const folder of [...first, ...projects.map(project => keysOf(project.id))]) {
    const found = keyPath(folder, id)
    if (await exists(client, found)) return found
  }
  throw new CliError(
    'notFound',
    `There is no key ${id}. \`keyhouse keys list\` and \`keyhouse keys list --admin\` show them.`,
  )
}

const keyPath = (folder: string, id: string): string => `${folder}/${onePart(id)}`

async function exists(client: Client, path: string): Promise<boolean> {
  try {
    await client.get(path)
    return true
  } catch (error) {
    if (error instanceof CliError && error.reason === 'notFound') return false
    throw error
  }
}
