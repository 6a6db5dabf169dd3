/** One SQL for one grant: everything that a call needs to know about its key. */
import type { ApiKeyId, OrganizationId, ProjectId, UserId } from '#contract/ids.ts'
import type { Grant, ScopeLimits } from '#core/grant.ts'
import type { KeyKind } from '#core/key-format.ts'
import { prepared, type Queryable } from './database.ts'

type GrantRow = {
  id: ApiKeyId
  kind: KeyKind
  redacted: string
  organization_id: OrganizationId
  is_operator: boolean
  project_id: ProjectId | null
  archived_at: Date | null
  owner_user_id: UserId | null
  scopes: string[]
  expires_at: Date | null
  revoked_at: Date | null
  limits: LimitRow[] | null
}

type LimitRow = { scope: string; model: string; requests: number | null; tokens: number | null }

const grantByHash = prepared(
  'grant_by_hash',
  `select k.id, k.kind, k.redacted, k.organization_id, o.is_operator, k.project_id, p.archived_at, k.owner_user_id,
     k.scopes, k.expires_at, k.revoked_at,
     (select json_agg(json_build_object('scope', l.scope_id, 'model', l.model,
        'requests', l.requests_per_minute, 'tokens', l.tokens_per_minute))
      from rate_limits l where l.scope_id in (k.organization_id, k.project_id)) as limits
   from api_keys k join organizations o on o.id = k.organization_id left join projects p on p.id = k.project_id
   where k.secret_hash = $1`,
)

/** The grant of the key with this hash, or undefined where there is no such key. Revoked and expired keys have grants too. */
export async function findGrant(database: Queryable, secretHash: Buffer): Promise<Grant | undefined> {
  const [row] = await database.query<GrantRow>(grantByHash, [secretHash])
  return row && toGrant(row)
}

function toGrant(row: GrantRow): Grant {
  return {
    keyId: row.id,
    kind: row.kind,
    redacted: row.redacted,
    organizationId: row.organization_id,
    isOperator: row.is_operator,
    projectId: row.project_id,
    projectActive: row.project_id !== null && row.archived_at === null,
    userId: row.owner_user_id,
    scopes: row.scopes,
    expiresAtMs: row.expires_at?.getTime() ?? null,
    revoked: row.revoked_at !== null,
    organizationLimits: limitsOf(row.limits, row.organization_id),
    projectLimits: limitsOf(row.limits, row.project_id),
  }
}

function limitsOf(rows: LimitRow[] | null, scope: string | null): Map<string, Partial<ScopeLimits>> {
  const limits = new Map<string, Partial<ScopeLimits>>()
  for (const row of rows ?? []) {
    if (row.scope !== scope) continue
    limits.set(row.model, {
      ...(row.requests !== null && { requestsPerMinute: row.requests }),
      ...(row.tokens !== null && { tokensPerMinute: row.tokens }),
    })
  }
  return limits
}

const deadKeys = prepared(
  'dead_keys',
  `select asked.id from unnest($1::text[]) as asked (id)
   left join api_keys k on k.id = asked.id left join projects p on p.id = k.project_id
   where k.id is null or k.revoked_at is not null or k.expires_at <= now() or p.archived_at is not null`,
)

/** Those of the keys that may no longer be used: revoked, expired, gone, or of an archived project. */
export async function findDeadKeys(database: Queryable, keys: readonly ApiKeyId[]): Promise<ApiKeyId[]> {
  const rows = await database.query<{ id: ApiKeyId }>(deadKeys, [keys])
  return rows.map(row => row.id)
}
