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
  readonly actorKeyId: string | null
  readonly actorEmail: string | null
  readonly resourceId: string | null
  /** OpenAI's wire object: kept as the very text that is hashed. */
  readonly entry: object
}

const append = sql('select append_audit_log($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)')

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
    draft.actorKeyId,
    draft.actorEmail,
    draft.resourceId,
    JSON.stringify(draft.entry),
  ])
}

const verifiedAtOnce = 100_000
const checkEntries = sql('select entries, first_broken from check_audit_log($1, $2, $3)')

/** An entry's number and its hash, in hex. */
export type AuditHead = { readonly number: number; readonly hash: string }

/** What was written last, whatever the log still holds. */
export async function readAuditHead(database: Queryable, organization: OrganizationId): Promise<AuditHead | null> {
  const text = `select number, encode(hash, 'hex') as hash from audit_heads where organization_id = $1`
  const [row] = await database.query<{ number: bigint; hash: string }>(sql(text), [organization])
  return row ? { number: Number(row.number), hash: row.hash } : null
}

/** Is this entry in the log, as it was when somebody noted it? */
export async function hasAuditHead(
  database: Queryable,
  organization: OrganizationId,
  { number, hash }: AuditHead,
): Promise<boolean> {
  const text = `select from audit_logs where organization_id = $1 and number = $2 and hash = decode($3, 'hex')`
  return (await database.query(sql(text), [organization, number, hash])).length > 0
}

/** The head, the oldest and newest entry that are there, and whether that is the head: of one moment, since both move on. */
const ends = sql(`select coalesce(h.number, 0) as head, coalesce(h.hash = l.hash, true) as fits,
    (select coalesce(max(number), 0) from audit_logs where organization_id = $1) as newest,
    (select min(number) from audit_logs where organization_id = $1) as oldest
  from (values (1)) one left join audit_heads h on h.organization_id = $1
    left join audit_logs l on l.organization_id = $1 and l.number = h.number`)

/** The number of the first entry that is not what it was, or is gone; null while the chain is whole. And how many there are. */
export async function verifyAuditLog(
  database: Queryable,
  organization: OrganizationId,
): Promise<{ entries: number; firstBroken: number | null }> {
  const rows = await database.query<{ head: bigint; fits: boolean; newest: bigint; oldest: bigint | null }>(ends, [
    organization,
  ])
  const { fits, oldest, ...places } = only(rows)
  const [head, newest] = [Number(places.head), Number(places.newest)]
  const { entries, firstBroken } = await verifyEntries(database, organization, newest)
  return { entries, firstBroken: tooOld(oldest) ?? firstBroken ?? brokenEnd({ head, newest, fits }) }
}

/** The chain begins with 1; what was put before that is in none, and would be shown by the lists. */
const tooOld = (oldest: bigint | null): number | null => (oldest !== null && oldest < 1n ? Number(oldest) : null)

/** The end of a chain that is whole in itself: gone, there beyond what was written, or another one. */
function brokenEnd({ head, newest, fits }: { head: number; newest: number; fits: boolean }): number | null {
  if (head !== newest) return Math.min(head, newest) + 1
  return fits ? null : head
}

async function verifyEntries(
  database: Queryable,
  organization: OrganizationId,
  newest: number,
): Promise<{ entries: number; firstBroken: number | null }> {
  let entries = 0
  let firstBroken: number | null = null
  for (let after = 0; after < newest; after += verifiedAtOnce) {
    const values = [organization, after, Math.min(after + verifiedAtOnce, newest)]
    const piece = only(await database.query<{ entries: bigint; first_broken: bigint | null }>(checkEntries, values))
    entries += Number(piece.entries)
    if (piece.first_broken !== null) firstBroken ??= Number(piece.first_broken)
  }
  return { entries, firstBroken }
}

export type AuditLogFilter = {
  readonly effectiveAt: { readonly gt?: number; readonly gte?: number; readonly lt?: number; readonly lte?: number }
  readonly projectIds?: readonly string[] | undefined
  readonly eventTypes?: readonly string[] | undefined
  /** People, service accounts, or keys. */
  readonly actorIds?: readonly string[] | undefined
  readonly actorEmails?: readonly string[] | undefined
  readonly resourceIds?: readonly string[] | undefined
  readonly limit: number
  /** Cursors: ids of entries. `after` goes on to older ones, `before` back to newer ones. */
  readonly after?: string | undefined
  readonly before?: string | undefined
}

export type AuditLogRow = { id: string; entry: string }

const placeOf = (parameter: string): string =>
  `(select c.number from audit_logs c where c.organization_id = $1 and c.id = ${parameter})`

const listText = (order: 'asc' | 'desc'): string =>
  `select id, entry from audit_logs
   where organization_id = $1
     and ($2::float8 is null or effective_at > to_timestamp($2)) and ($3::float8 is null or effective_at >= to_timestamp($3))
     and ($4::float8 is null or effective_at < to_timestamp($4)) and ($5::float8 is null or effective_at <= to_timestamp($5))
     and ($6::text[] is null or project_id = any($6)) and ($7::text[] is null or type = any($7))
     and ($8::text[] is null or actor_id = any($8) or actor_key_id = any($8))
     and ($9::text[] is null or lower(actor_email) = any($9)) and ($10::text[] is null or resource_id = any($10))
     and ($11::text is null or number < ${placeOf('$11')}) and ($12::text is null or number > ${placeOf('$12')})
   order by number ${order} limit $13`

/** Newest first, whichever way it was asked for. One row more than `limit` says that there are more. */
export async function listAuditLogs(
  database: Queryable,
  organization: OrganizationId,
  filter: AuditLogFilter,
): Promise<{ rows: AuditLogRow[]; hasMore: boolean }> {
  const { effectiveAt, before, after, limit } = filter
  const backwards = before !== undefined && after === undefined
  const found = await database.query<AuditLogRow>(sql(listText(backwards ? 'asc' : 'desc')), [
    organization,
    effectiveAt.gt ?? null,
    effectiveAt.gte ?? null,
    effectiveAt.lt ?? null,
    effectiveAt.lte ?? null,
    filter.projectIds ?? null,
    filter.eventTypes ?? null,
    filter.actorIds ?? null,
    filter.actorEmails?.map(email => email.toLowerCase()) ?? null,
    filter.resourceIds ?? null,
    after ?? null,
    before ?? null,
    limit + 1,
  ])
  const rows = found.slice(0, limit)
  return { rows: backwards ? rows.reverse() : rows, hasMore: found.length > limit }
}
