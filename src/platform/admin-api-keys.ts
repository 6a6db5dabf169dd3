/** Admin API keys. */
import type { adminApiKeys } from '#contract/admin-api-keys.ts'
import { apiError } from '#contract/errors.ts'
import { allScopes, holdsScope, scopeNames } from '#contract/scopes.ts'
import type { Grant } from '#core/grant.ts'
import { requireGrantable } from '#core/granting.ts'
import {
  type ApiKeyRow,
  findApiKey,
  isLastAdminKey,
  type KeyPlace,
  listApiKeys,
  revokeApiKey,
  setDisabled,
} from '#storage/api-keys.ts'
import type { Queryable } from '#storage/database.ts'
import { firstOwner } from '#storage/organizations.ts'
import { type Caller, change } from './change.ts'
import { isExpired } from './existing-key.ts'
import type { Handlers } from './handler.ts'
import { keyCreated } from './key-audit.ts'
import { checkLifetime, keyPolicyOf } from './key-policy.ts'
import { expiryOf, mintKey } from './mint-key.ts'
import { toList, unixSeconds, unixSecondsOrNull } from './page.ts'
import type { PlatformParts } from './platform.ts'

const placeOf = ({ organizationId }: Grant): KeyPlace => ({ organizationId, projectId: null })

export const adminApiKeyHandlers: Handlers<typeof adminApiKeys> = {
  async list({ database, wallClock }, { grant, query }) {
    const page = await listApiKeys(database, placeOf(grant), query)
    const nowMs = wallClock()
    return toList(
      page,
      row => toAdminKey(row, nowMs),
      row => row.id,
    )
  },

  create(parts, call) {
    const { grant, body } = call
    const nowMs = parts.wallClock()
    if (body.scopes) requireGrantable(grant, body.scopes.length === 0 ? allScopes : body.scopes)
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
        answer: { ...toAdminKey(row, nowMs), value: minted.value },
        audit: [keyCreated(row, null)],
        affects: [['api_key', row.id]],
      }
    })
  },

  async retrieve({ database, wallClock }, { grant, params }) {
    return toAdminKey(await existingKey(database, grant, params.key_id), wallClock())
  },

  disable: (parts, call) => switchKey(parts, call, true, tx => keepAKey(tx, call.grant, call.params.key_id)),
  enable: (parts, call) => switchKey(parts, call, false),

  delete(parts, call) {
    const { grant, params } = call
    const id = params.key_id
    return change(parts, call, async tx => {
      await keepAKey(tx, grant, id)
      await existingKey(tx, grant, id)
      await revokeApiKey(tx, placeOf(grant), id)
      return {
        answer: { id, object: 'organization.admin_api_key.deleted', deleted: true },
        audit: [{ type: 'api_key.deleted', resourceId: id }],
        affects: [['api_key', id]],
      }
    })
  },
}

type KeyCall = Caller & { readonly params: { readonly key_id: string } }

function switchKey(
  parts: PlatformParts,
  call: KeyCall,
  disabled: boolean,
  check: (tx: Queryable) => Promise<void> = async () => undefined,
) {
  const { grant, params } = call
  return change(parts, call, async tx => {
    await check(tx)
    const { id } = await existingKey(tx, grant, params.key_id)
    await setDisabled(tx, id, disabled)
    return {
      answer: toAdminKey(await existingKey(tx, grant, id), parts.wallClock()),
      audit: [{ type: 'api_key.updated', resourceId: id, detail: { changes_requested: { disabled } } }],
      affects: [['api_key', id]],
    }
  })
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

const making = scopeNames.filter(name => holdsScope([name], 'api.organization.admin_api_keys.write'))

/** @throws ApiError conflict when without this one nobody could make another */
async function keepAKey(tx: Queryable, { organizationId }: Grant, id: string): Promise<void> {
  if (await isLastAdminKey(tx, organizationId, { id, making })) throw lastKey()
}

const lastKey = (): Error =>
  apiError('conflict', {
    message:
      "This is the organization's last admin API key that works and can make others. Create another one, then delete or disable this.",
  })

const toAdminKey = (row: ApiKeyRow, nowMs: number) => ({
  object: 'organization.admin_api_key' as const,
  id: row.id as string,
  name: row.name,
  redacted_value: row.redacted,
  created_at: unixSeconds(row.created_at),
  expires_at: unixSecondsOrNull(row.expires_at),
  last_used_at: unixSecondsOrNull(row.last_used_at),
  status: statusOf(row, nowMs),
  scopes: row.scopes,
  owner: adminOwner(row),
})

function statusOf(row: ApiKeyRow, nowMs: number): 'active' | 'disabled' | 'expired' {
  if (isExpired(row, nowMs)) return 'expired'
  return row.disabled_at === null ? 'active' : 'disabled'
}

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
