/** What the audit log says of a new key: what it may do, and by which key it came to be. Never its secret. */
import type { ApiKeyRow } from '#storage/api-keys.ts'
import type { AuditEntry } from './audit-entry.ts'

type Project = { readonly id: string; readonly name: string }

export function keyCreated(row: ApiKeyRow, project: Project | null): AuditEntry {
  const { scopes, allowed_cidrs, allowed_origins, allowed_models, expires_at, backup_of, rotated_from, minted_by } = row
  const data = {
    scopes,
    ...(allowed_cidrs.length > 0 && { allowed_cidrs }),
    ...(allowed_origins.length > 0 && { allowed_origins }),
    ...(allowed_models.length > 0 && { allowed_models }),
    ...(expires_at && { expires_at: Math.floor(expires_at.getTime() / 1000) }),
    ...(backup_of && { backup_of }),
    ...(rotated_from && { rotated_from }),
    ...(minted_by && { minted_by }),
  }
  return { type: 'api_key.created', project, resourceId: row.id, detail: { data } }
}
