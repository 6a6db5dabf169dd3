/** Admin API keys. */
import type { adminApiKeys } from '#contract/admin-api-keys.ts'
import { apiError } from '#contract/errors.ts'
import type { Grant } from '#core/grant.ts'
import {
  type ApiKeyRow,
  countOtherAdminKeys,
  findApiKey,
  type KeyPlace,
  listApiKeys,
  revokeApiKey,
} from '#storage/api-keys.ts'
import { recordAuthEvent } from '#storage/auth-events.ts'
import type { Queryable } from '#storage/database.ts'
import { firstOwner } from '#storage/organizations.ts'
import type { Handlers } from './handler.ts'
import { expiryOf, mintKey } from './mint-key.ts'
import { toList, unixSeconds, unixSecondsOrNull } from './page.ts'

const placeOf = ({ organizationId }: Grant): KeyPlace => ({ organizationId, projectId: null })

export const adminApiKeyHandlers: Handlers<typeof adminApiKeys> = {
  async list({ database }, { grant, query }) {
    return toList(await listApiKeys(database, placeOf(grant), query), toAdminKey, row => row.id)
  },

  async create({ database, secrets, wallClock }, { grant, body }) {
    return database.transaction(async tx => {
      const minted = await mintKey(tx, secrets, {
        kind: 'admin',
        organizationId: grant.organizationId,
        projectId: null,
        ownerUserId: await ownerFor(tx, grant),
        name: body.name,
        // No key makes one that may do more than itself
        scopes: grant.scopes,
        expiresAt: expiryOf(wallClock(), body.expires_in_seconds),
      })
      const row = await existingKey(tx, grant, minted.id)
      await recordAuthEvent(tx, 'api_key', minted.id)
      return { ...toAdminKey(row), value: minted.value }
    })
  },

  async retrieve({ database }, { grant, params }) {
    return toAdminKey(await existingKey(database, grant, params.key_id))
  },

  async delete({ database }, { grant, params: { key_id: id } }) {
    await database.transaction(async tx => {
      const others = await countOtherAdminKeys(tx, grant.organizationId, id)
      const row = await existingKey(tx, grant, id)
      if (others === 0 && row.owner_user_id !== null) throw lastKey()
      await revokeApiKey(tx, placeOf(grant), id)
      await recordAuthEvent(tx, 'api_key', id)
    })
    return { id, object: 'organization.admin_api_key.deleted', deleted: true }
  },
}

/** A key belongs to whoever made the key that it was made with; to the first owner when that was a machine. */
export async function ownerFor(tx: Queryable, { userId, organizationId }: Grant) {
  return userId ?? (await firstOwner(tx, organizationId)) ?? null
}

async function existingKey(database: Queryable, grant: Grant, id: string): Promise<ApiKeyRow> {
  const row = await findApiKey(database, placeOf(grant), id)
  if (!row) throw apiError('not_found', { what: 'admin API key' })
  return row
}

const lastKey = (): Error =>
  apiError('conflict', {
    message:
      "This is the organization's last admin API key that does not expire. Create another one, then delete this.",
  })

const toAdminKey = (row: ApiKeyRow) => ({
  object: 'organization.admin_api_key' as const,
  id: row.id as string,
  name: row.name,
  redacted_value: row.redacted,
  created_at: unixSeconds(row.created_at),
  expires_at: unixSecondsOrNull(row.expires_at),
  last_used_at: unixSecondsOrNull(row.last_used_at),
  owner: adminOwner(row),
})

/** What a server minted for the command line of its own machine is nobody's. */
function adminOwner(row: ApiKeyRow) {
  const created = unixSeconds(row.owner_created_at ?? row.created_at)
  if (row.owner_user_id === null) {
    const name = 'This Keyhouse'
    return {
      type: 'service_account',
      object: 'organization.service_account',
      id: row.id,
      name,
      created_at: created,
      role: 'owner',
    } as const
  }
  return {
    type: 'user',
    object: 'organization.user',
    id: row.owner_user_id,
    name: row.owner_name ?? '',
    created_at: created,
    role: row.owner_role ?? '',
  } as const
}
