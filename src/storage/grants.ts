/** One SQL for one grant: everything that a request needs to know about its key. */
import { X509Certificate } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { type HostedTool, hostedTools } from '#contract/hosted-tool-permissions.ts'
import type { ApiKeyId, OrganizationId, ProjectId, UserId } from '#contract/ids.ts'
import type { Grant, KeyState, ModelPermissions, Restriction } from '#core/grant.ts'
import type { KeyKind } from '#core/key-format.ts'
import { type OrganizationRole, type ProjectRole, permissionsOf } from '#core/roles.ts'
import type { Period } from '#core/spending.ts'
import type { TierName } from '#core/usage-tiers.ts'
import { prepared, type Queryable } from './database.ts'
import { type LimitsRow, limitsByModel } from './rate-limits.ts'

type GrantRow = {
  id: ApiKeyId
  kind: KeyKind
  redacted: string
  organization_id: OrganizationId
  is_operator: boolean
  project_id: ProjectId | null
  archived_at: Date | null
  owner_user_id: UserId | null
  owner_removed: boolean
  organization_role: OrganizationRole | null
  project_roles: ProjectRole[]
  assigned: string[]
  service_account_id: string | null
  service_account_deleted: boolean
  budget_key_id: ApiKeyId | null
  organization_spend_limit: boolean
  project_spend_limit: boolean
  key_budget_period: Period | null
  scopes: string[]
  expires_at: Date | null
  revoked: boolean
  disabled: boolean
  asleep: boolean
  restrictions: { scope: string; cidrs: string[]; origins: string[] }[] | null
  allowed_cidrs: string[]
  allowed_origins: string[]
  allowed_models: string[]
  model_mode: 'allow_list' | 'deny_list' | null
  model_ids: string[] | null
  tools: Partial<Record<HostedTool, boolean>> | null
  certificates: { fingerprint: string; content: string }[] | null
  usage_tier: TierName | null
  capture_bytes_max: number | null
  limits: LimitsRow[] | null
}

/** The roles of one principal in the key's project: directly, and for a person through groups. */
const projectRoles = `array(
    select pu.role from project_users pu where pu.project_id = k.project_id and pu.user_id = k.owner_user_id
    union all
    select g.role from project_groups g join group_users gu on gu.group_id = g.group_id
      where g.project_id = k.project_id and gu.user_id = k.owner_user_id
    union all
    select s.role where s.id is not null)`

/** Permissions of assigned custom roles; the id itself where a predefined role was assigned. */
const assigned = `array(
    select unnest(coalesce(r.permissions, array[a.role_id])) from role_assignments a left join roles r on r.id = a.role_id
      where a.organization_id = k.organization_id and (a.project_id is null or a.project_id = k.project_id)
        and a.principal_id = any(array(
          select k.owner_user_id union all select k.service_account_id
          union all select gu.group_id from group_users gu where gu.user_id = k.owner_user_id)))`

const limits = `(select json_agg(to_json(l)) from rate_limits l
    where l.scope_id in (k.organization_id, k.project_id, coalesce(k.budget_key_id, k.id)))`

const restrictions = `(select json_agg(json_build_object('scope', p.scope_id, 'cidrs', p.allowed_cidrs::text[],
      'origins', p.allowed_origins))
    from key_policies p where p.scope_id in (k.organization_id, k.project_id) and not k.is_local)`

/** An admin key calls no models, and must be able to take back what was activated by mistake. */
const certificates = `(select json_agg(json_build_object('fingerprint', c.fingerprint_sha256, 'content', c.content))
    from certificate_activations a join certificates c on c.id = a.certificate_id
    where k.project_id is not null and a.scope_id in (k.organization_id, k.project_id))`

const grantByHash = prepared(
  'grant_by_hash',
  `select k.id, k.kind, k.redacted, k.organization_id, o.is_operator, k.project_id, p.archived_at, k.owner_user_id,
     coalesce(u.removed_at is not null, false) as owner_removed, u.role as organization_role,
     ${projectRoles} as project_roles, ${assigned} as assigned,
     k.service_account_id, coalesce(s.deleted_at is not null, false) as service_account_deleted,
     k.budget_key_id, b.period as key_budget_period,
     o.usage_cap_nano_usd is not null or exists (select from spend_limits where scope_id = k.organization_id)
       as organization_spend_limit,
     exists (select from spend_limits where scope_id = k.project_id) as project_spend_limit, k.scopes, least(k.expires_at, minter.expires_at) as expires_at,
     k.revoked_at is not null or coalesce(minter.revoked_at is not null, false) as revoked,
     k.disabled_at is not null or coalesce(minter.disabled_at is not null, false) as disabled,
     coalesce(primary_key.revoked_at is null and primary_key.id is not null, false) as asleep,
     k.allowed_cidrs::text[] as allowed_cidrs, k.allowed_origins, k.allowed_models, ${restrictions} as restrictions,
     m.mode as model_mode, m.model_ids, t.tools, ${certificates} as certificates, o.usage_tier, ${limits} as limits,
     payload_bytes_max(k.project_id, k.organization_id) as capture_bytes_max
   from api_keys k
     join organizations o on o.id = k.organization_id
     left join projects p on p.id = k.project_id
     left join users u on u.id = k.owner_user_id
     left join service_accounts s on s.id = k.service_account_id
     left join api_keys minter on minter.id = k.minted_by
     left join api_keys primary_key on primary_key.id = k.backup_of
     left join key_budgets b on b.key_id = coalesce(k.budget_key_id, k.id)
     left join model_permissions m on m.project_id = k.project_id
     left join hosted_tool_permissions t on t.project_id = k.project_id
   where k.secret_hash = $1`,
)

/** The grant of the key with this hash, or undefined where there is no such key. Dead keys have grants too. */
export async function findGrant(database: Queryable, secretHash: Buffer): Promise<Grant | undefined> {
  const [row] = await database.query<GrantRow>(grantByHash, [secretHash])
  return row && toGrant(row)
}

function toGrant(row: GrantRow): Grant {
  return {
    keyId: row.id,
    kind: row.kind,
    redacted: row.redacted,
    state: stateOf(row),
    organizationId: row.organization_id,
    isOperator: row.is_operator,
    projectId: row.project_id,
    projectActive: row.project_id !== null && row.archived_at === null,
    userId: row.owner_user_id,
    serviceAccountId: row.service_account_id,
    budgetKeyId: row.budget_key_id ?? row.id,
    spendLimits: {
      organization: row.organization_spend_limit,
      project: row.project_spend_limit,
      key: row.key_budget_period,
    },
    scopes: row.scopes,
    permissions: permissionsOf(heldBy(row)),
    expiresAtMs: row.expires_at?.getTime() ?? null,
    restrictions: restrictionsOf(row),
    modelPermissions: modelPermissionsOf(row),
    allowedModels: row.allowed_models,
    disabledTools: hostedTools.filter(tool => row.tools?.[tool] === false),
    certificates: (row.certificates ?? []).map(sharedCertificate),
    usageTier: row.usage_tier,
    organizationLimits: limitsByModel(row.limits, row.organization_id),
    ownerLimits: limitsByModel(row.limits, row.organization_id, true),
    projectLimits: limitsByModel(row.limits, row.project_id),
    keyLimits: limitsByModel(row.limits, row.budget_key_id ?? row.id),
    capture: row.capture_bytes_max === null ? null : { bytesMax: row.capture_bytes_max },
  }
}

/** A key without an owner belongs to the machine that made it (the CLI's own), and does what its scopes say. */
function heldBy(row: GrantRow) {
  const ownerless = row.owner_user_id === null && row.service_account_id === null
  const organizationRole = ownerless ? ('owner' as const) : row.organization_role
  return { organizationRole, projectRoles: row.project_roles, assigned: row.assigned }
}

function stateOf(row: GrantRow): KeyState {
  if (row.revoked) return 'revoked'
  if (row.disabled) return 'disabled'
  if (row.asleep) return 'asleep'
  return row.owner_removed || row.service_account_deleted || isStranger(row) ? 'owner_inactive' : 'active'
}

/** A person who is neither in the project nor an owner of the organization has no business there any more. */
function isStranger({
  owner_user_id,
  project_id,
  organization_role,
  project_roles,
  assigned: roles,
}: GrantRow): boolean {
  if (owner_user_id === null || project_id === null) return false
  return organization_role !== 'owner' && project_roles.length === 0 && roles.length === 0
}

function restrictionsOf(row: GrantRow): Restriction[] {
  const own = { where: 'key' as const, cidrs: row.allowed_cidrs, origins: row.allowed_origins }
  const inherited = (row.restrictions ?? []).map(({ scope, cidrs, origins }) => ({
    where: scope === row.project_id ? ('project' as const) : ('organization' as const),
    cidrs,
    origins,
  }))
  return [own, ...inherited].filter(({ cidrs, origins }) => cidrs.length > 0 || origins.length > 0)
}

const modelPermissionsOf = ({ model_mode, model_ids }: GrantRow): ModelPermissions | null =>
  model_mode === null ? null : { mode: model_mode, models: new Set(model_ids ?? []) }

/** Of all organizations together; what does not fit is parsed again. */
const certificatesKeptMax = 10_000
const kept = new LRUCache<string, X509Certificate>({ max: certificatesKeptMax })

/** All grants of an organization hold the same few certificates: each is parsed and kept once. */
function sharedCertificate({ fingerprint, content }: { fingerprint: string; content: string }): X509Certificate {
  const known = kept.get(fingerprint)
  if (known) return known
  const certificate = new X509Certificate(content)
  kept.set(fingerprint, certificate)
  return certificate
}

const grantsById = prepared('grants_by_id', 'select secret_hash from api_keys where id = any($1::text[])')

/**
 * The grants of these keys; a key that is gone has none. Asked when something changed while they had calls in flight, so
 * it is the same answer that a new call would get, and not a shorter one that could differ.
 */
export async function findGrants(database: Queryable, keys: readonly ApiKeyId[]): Promise<Map<ApiKeyId, Grant>> {
  const rows = await database.query<{ secret_hash: Buffer }>(grantsById, [keys])
  const grants = await Promise.all(rows.map(row => findGrant(database, row.secret_hash)))
  return new Map(grants.filter(grant => grant !== undefined).map(grant => [grant.keyId, grant]))
}
