/** What people call the projects and keys that usage counts by id. */
import type { Client } from './client.ts'
import { CliError } from './exit.ts'
import { path } from './show.ts'
import type { Dimension } from './usage-rows.ts'
import type { Project, ProjectKey } from './wire.ts'

/** Names by id, as far as they can be known: a key may be gone, or the admin key may not list keys. */
export async function namesOf(client: Client, by: Dimension, ids: readonly string[]): Promise<Map<string, string>> {
  if (by === 'model' || ids.length === 0) return new Map()
  try {
    const projects = await client.list<Project>('/v1/organization/projects', { include_archived: 'true' })
    return by === 'project' ? byId(projects) : byId(await keysOf(client, projects))
  } catch (error) {
    if (error instanceof CliError && error.reason === 'notAuthorized') return new Map()
    throw error
  }
}

async function keysOf(client: Client, projects: readonly Project[]): Promise<ProjectKey[]> {
  const keys: ProjectKey[] = []
  for (const { id } of projects) {
    keys.push(...(await client.list<ProjectKey>(path`/v1/organization/projects/${id}/api_keys`)))
  }
  return keys
}

const byId = (named: readonly { id: string; name: string }[]): Map<string, string> =>
  new Map(named.map(({ id, name }) => [id, name]))
