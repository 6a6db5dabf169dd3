/** Key policies of organizations and projects: one row each, or none where nothing was ever set. */
import type { OrganizationId, ProjectId } from '#contract/ids.ts'
import { only, type Queryable, sql } from './database.ts'

export type KeyPolicyRow = {
  allowed_cidrs: string[]
  allowed_origins: string[]
  key_lifetime_seconds_max: bigint | null
  service_accounts_only: boolean
}

const none: KeyPolicyRow = {
  allowed_cidrs: [],
  allowed_origins: [],
  key_lifetime_seconds_max: null,
  service_accounts_only: false,
}

type Scope = OrganizationId | ProjectId

const columns =
  'allowed_cidrs::text[] as allowed_cidrs, allowed_origins, key_lifetime_seconds_max, service_accounts_only'

export async function findKeyPolicy(database: Queryable, scope: Scope): Promise<KeyPolicyRow> {
  const text = `select ${columns} from key_policies where scope_id = $1`
  const [row] = await database.query<KeyPolicyRow>(sql(text), [scope])
  return row ?? none
}

/** What holds where all of these do. */
export async function strictestKeyPolicy(
  database: Queryable,
  scopes: readonly Scope[],
): Promise<{ lifetime_max: bigint | null; service_accounts_only: boolean }> {
  const text = `select min(key_lifetime_seconds_max) as lifetime_max,
    coalesce(bool_or(service_accounts_only), false) as service_accounts_only from key_policies where scope_id = any($1)`
  return only(
    await database.query<{ lifetime_max: bigint | null; service_accounts_only: boolean }>(sql(text), [scopes]),
  )
}

/** What is undefined stays as it is. */
export type KeyPolicyChange = {
  readonly allowedCidrs?: readonly string[] | undefined
  readonly allowedOrigins?: readonly string[] | undefined
  /** Null: for ever. */
  readonly keyLifetimeSecondsMax?: number | null | undefined
  readonly serviceAccountsOnly?: boolean | undefined
}

export async function saveKeyPolicy(tx: Queryable, scope: Scope, change: KeyPolicyChange): Promise<KeyPolicyRow> {
  await tx.query(sql('insert into key_policies (scope_id) values ($1) on conflict do nothing'), [scope])
  const { allowedCidrs, allowedOrigins, keyLifetimeSecondsMax: lifetime, serviceAccountsOnly } = change
  const text = `update key_policies set updated_at = now(),
      allowed_cidrs = case when $2::text[] is null then allowed_cidrs else address_blocks($2) end,
      allowed_origins = coalesce($3, allowed_origins),
      key_lifetime_seconds_max = case when $4 then $5 else key_lifetime_seconds_max end,
      service_accounts_only = coalesce($6, service_accounts_only)
    where scope_id = $1 returning ${columns}`
  const values = [scope, allowedCidrs, allowedOrigins, lifetime !== undefined, lifetime, serviceAccountsOnly]
  return only(await tx.query<KeyPolicyRow>(sql(text), values))
}
