/** The audit log: append only, and each entry carries the hash of the one before it. */
import type { OrganizationId } from '#contract/ids.ts'
import { only, type Queryable, sql } from './database.ts'

export type AuditLogDraft = {
  readonly organizationId: OrganizationId
  readonly id: string
  readonly type: string
  readonly effectiveAt: Date
  readonly projectId: string | null
  readonly projectName: string | null
  readonly actorKind: 'session' | 'api_key' | 'system'
  /** Of the person or service account behind it; the key's own where there is neither. */
  readonly actorId: string | null
  readonly actorEmail: string | null
  readonly resourceId: string | null
  /** OpenAI's wire object: kept as the very text that is hashed. */
  readonly entry: object
}

const append = sql('select append_audit_log($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)')

/** In the transaction of the change that it tells of, near its end: it locks the organization's chain until the commit. */
export async function appendAuditLog(tx: Queryable, draft: AuditLogDraft): Promise<void> {
  await tx.query(append, [
    draft.organizationId,
    draft.id,
    draft.type,
    draft.effectiveAt,
    draft.projectId,
    draft.projectName,
    draft.actorKind,
    draft.actorId,
    draft.actorEmail,
    draft.resourceId,
    JSON.stringify(draft.entry),
  ])
}

/** The number of the first entry that is not what it was, or null while the chain is whole; and how many there are. */
export async function verifyAuditLog(
  database: Queryable,
  organization: OrganizationId,
): Promise<{ entries: number; firstBroken: number | null }> {
  const row = only(
    await database.query<{ entries: bigint; broken: bigint | null }>(
      sql('select count(*) as entries, broken_audit_log($1) as broken from audit_logs where organization_id = $1'),
      [organization],
    ),
  )
  return { entries: Number(row.entries), firstBroken: row.broken === null ? null : Number(row.broken) }
}
