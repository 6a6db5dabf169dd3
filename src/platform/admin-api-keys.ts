/** Admin API keys. */
import type { adminApiKeys } from '#contract/admin-api-keys.ts'
import { apiError } from '#contract/errors.ts'
import { requireScopes } from '#core/access.ts'
import type { Grant } from '#core/grant.ts'
import {
  type ApiKeyRow,
  countOtherAdminKeys,
  findApiKey,
  type KeyPlace,
  listApiKeys,
  revokeApiKey,
} from '#storage/api-keys.ts'
import type { Queryable } from '#storage/database.ts'
import { firstOwner } from '#storage/organizations.ts'
import { change } from './change.ts'
import type { Handlers } from './handler.ts'
import { keyCreated } from './key-audit.ts'
import { checkLifetime, keyPolicyOf } from './key-policy.ts'
import { expiryOf, mintKey } from './mint-key.ts'
import { toList, unixSeconds, unixSecondsOrNull } from './page.ts'

const placeOf = ({ organizationId }: Grant): KeyPlace => ({ organizationId, projectId: null })

export const adminApiKeyHandlers: Handlers<typeof adminApiKeys> = {
  async list({ database }, { grant, query }) {
    return toList(await listApiKeys(database, placeOf(grant), query), toAdminKey, row => row.id)
  },

  create(parts, call) {
    const { grant, body } = call
    const nowMs = parts.wallClock()
    // No key makes one that may do more than itself
    if (body.scopes) requireScopes(grant, body.scopes)
    return change(parts, call, async tx => {
      const expiresAt = expiryOf(nowMs, body.expires_in_seconds)
      checkLifetime(await keyPolicyOf(tx, placeOf(grant)), expiresAt, nowMs)
      const minted = await mintKey(tx, parts.secrets, {
        ...placeOf(grant),
        kind: 'admin',
        ownerUserId: await ownerFor(tx, grant),
        name: body.name,
        scopes: body.scopes ?? grant.scopes,
        expiresAt,
      })
      const row = await existingKey(tx, grant, minted.id)
      return {
        answer: { ...toAdminKey(row), value: minted.value },
        audit: [keyCreated(row, null)],
        affects: [['api_key', row.id]],
      }
    })
  },

  async retrieve({ database }, { grant, params }) {
    return toAdminKey(await existingKey(database, grant, params.key_id))
  },

  delete(parts, call) {
    const { grant, params } = call
    const id = params.key_id
    return change(parts, call, async tx => {
      const others = await countOtherAdminKeys(tx, grant.organizationId, id)
      const row = await existingKey(tx, grant, id)
      if (others === 0 && row.owner_user_id !== null) throw lastKey()
      await revokeApiKey(tx, placeOf(grant), id)
      return {
        answer: { id, object: 'organization.admin_api_key.deleted', deleted: true },
        audit: [{ type: 'api_key.deleted', resourceId: id }],
        affects: [['api_key', id]],
      }
    })
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
  scopes: row.scopes,
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
