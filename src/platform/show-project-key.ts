/** A project's key on the wire. */
import type { ApiKeyRow } from '#storage/api-keys.ts'
import { isExpired } from './existing-key.ts'
import { unixSeconds, unixSecondsOrNull } from './page.ts'

export const showProjectKey = (row: ApiKeyRow, nowMs: number) => ({
  object: 'organization.project.api_key' as const,
  id: row.id as string,
  name: row.name,
  redacted_value: row.redacted,
  created_at: unixSeconds(row.created_at),
  expires_at: unixSecondsOrNull(row.expires_at),
  last_used_at: unixSecondsOrNull(row.last_used_at),
  kind: kindOf(row),
  status: statusOf(row, nowMs),
  scopes: row.scopes,
  allowed_cidrs: row.allowed_cidrs,
  allowed_origins: row.allowed_origins,
  allowed_models: row.allowed_models,
  backup_of: row.backup_of as string | null,
  rotated_from: row.rotated_from as string | null,
  rotated_to: row.rotated_to as string | null,
  minted_by: row.minted_by as string | null,
  rotate_every_days: row.rotate_every_days,
  rotate_next_at: unixSecondsOrNull(row.rotate_next_at),
  rotation_due: row.rotate_next_at !== null && row.rotate_next_at.getTime() <= nowMs,
  owner_project_access: row.owner_active ? ('active' as const) : ('inactive' as const),
  owner: ownerOf(row),
})

function kindOf({ kind, id }: ApiKeyRow) {
  // The table's own CHECK: a key of kind admin has no project
  if (kind === 'admin') throw new Error(`${id} is an admin key in a project`)
  return kind
}

function statusOf(row: ApiKeyRow, nowMs: number): 'active' | 'disabled' | 'asleep' | 'expired' {
  if (isExpired(row, nowMs)) return 'expired'
  if (row.disabled_at !== null) return 'disabled'
  return row.asleep ? 'asleep' : 'active'
}

function ownerOf(row: ApiKeyRow) {
  const id: string = row.owner_user_id ?? row.service_account_id ?? row.id
  const created_at = unixSeconds(row.owner_created_at ?? row.created_at)
  const owner = { id, name: row.owner_name ?? row.name, created_at, role: row.owner_role ?? 'member' }
  if (row.owner_user_id === null) return { type: 'service_account' as const, service_account: owner }
  return { type: 'user' as const, user: { ...owner, email: row.owner_email ?? '' } }
}
