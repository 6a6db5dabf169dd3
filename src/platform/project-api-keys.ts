/** API keys of a project. */
import { apiError } from '#contract/errors.ts'
import type { projectApiKeys } from '#contract/project-api-keys.ts'
import type { Grant } from '#core/grant.ts'
import { type ApiKeyRow, findApiKey, type KeyPlace, listApiKeys, revokeApiKey } from '#storage/api-keys.ts'
import { recordAuthEvent } from '#storage/auth-events.ts'
import type { Queryable } from '#storage/database.ts'
import { findProject, lockProject, type ProjectRow } from '#storage/projects.ts'
import { ownerFor } from './admin-api-keys.ts'
import type { Handlers } from './handler.ts'
import { expiryOf, mintKey } from './mint-key.ts'
import { toList, unixSeconds, unixSecondsOrNull } from './page.ts'
import { existing } from './projects.ts'

export const projectApiKeyHandlers: Handlers<typeof projectApiKeys> = {
  async list({ database }, { grant, params, query }) {
    const place = await placeOf(database, grant, params.project_id)
    // Every owner can reach the project, as long as people cannot be taken out of one
    const page = query.owner_project_access === 'inactive' ? nothing : await listApiKeys(database, place, query)
    return toList(page, toProjectKey, row => row.id)
  },

  async create({ database, secrets, wallClock }, { grant, params, body }) {
    return database.transaction(async tx => {
      const project = existing(await lockProject(tx, grant.organizationId, params.project_id))
      if (project.archived_at !== null) throw archived(project)
      const place = { organizationId: grant.organizationId, projectId: project.id }
      const minted = await mintKey(tx, secrets, {
        ...place,
        kind: body.test ? 'test' : 'project',
        ownerUserId: await ownerFor(tx, grant),
        name: body.name,
        scopes: body.scopes ?? [],
        expiresAt: expiryOf(wallClock(), body.expires_in_seconds),
      })
      const row = await existingKey(tx, place, minted.id)
      await recordAuthEvent(tx, 'api_key', minted.id)
      return { ...toProjectKey(row), value: minted.value }
    })
  },

  async retrieve({ database }, { grant, params }) {
    const place = await placeOf(database, grant, params.project_id)
    return toProjectKey(await existingKey(database, place, params.key_id))
  },

  async delete({ database }, { grant, params: { project_id: projectId, key_id: id } }) {
    await database.transaction(async tx => {
      const place = await placeOf(tx, grant, projectId)
      if (!(await revokeApiKey(tx, place, id))) throw noSuchKey()
      await recordAuthEvent(tx, 'api_key', id)
    })
    return { id, object: 'organization.project.api_key.deleted', deleted: true }
  },
}

const nothing = { rows: [], hasMore: false }

async function placeOf(database: Queryable, { organizationId }: Grant, projectId: string): Promise<KeyPlace> {
  const { id } = existing(await findProject(database, organizationId, projectId))
  return { organizationId, projectId: id }
}

const noSuchKey = (): Error => apiError('not_found', { what: 'API key in this project' })

const archived = ({ id }: ProjectRow): Error =>
  apiError('conflict', { message: `Project \`${id}\` is archived and takes no new keys. Use an active project.` })

async function existingKey(database: Queryable, place: KeyPlace, id: string): Promise<ApiKeyRow> {
  const row = await findApiKey(database, place, id)
  if (!row) throw noSuchKey()
  return row
}

const toProjectKey = (row: ApiKeyRow) => ({
  object: 'organization.project.api_key' as const,
  id: row.id as string,
  name: row.name,
  redacted_value: row.redacted,
  created_at: unixSeconds(row.created_at),
  expires_at: unixSecondsOrNull(row.expires_at),
  last_used_at: unixSecondsOrNull(row.last_used_at),
  kind: kindOf(row),
  scopes: row.scopes,
  owner_project_access: 'active' as const,
  owner: ownerOf(row),
})

function kindOf({ kind, id }: ApiKeyRow) {
  // The table's own CHECK: a key of kind admin has no project
  if (kind === 'admin') throw new Error(`${id} is an admin key in a project`)
  return kind
}

function ownerOf(row: ApiKeyRow) {
  const id: string = row.owner_user_id ?? row.id
  const created_at = unixSeconds(row.owner_created_at ?? row.created_at)
  const owner = { id, name: row.owner_name ?? row.name, created_at, role: row.owner_role ?? 'member' }
  if (row.owner_user_id === null) return { type: 'service_account' as const, service_account: owner }
  return { type: 'user' as const, user: { ...owner, email: row.owner_email ?? '' } }
}
