/** API keys as people manage them. What a key may do is read elsewhere (grants.ts); its secret is kept nowhere. */
import type { ApiKeyId, OrganizationId, ProjectId, ServiceAccountId, UserId } from '#contract/ids.ts'
import type { KeyKind } from '#core/key-format.ts'
import { only, prepared, type Queryable, sql } from './database.ts'
import { behindCursor, type Order, type Page, type PageRequest, rowsToRead, toPage } from './keyset.ts'

export type ApiKeyRow = {
  id: ApiKeyId
  kind: KeyKind
  name: string
  redacted: string
  scopes: string[]
  allowed_cidrs: string[]
  allowed_origins: string[]
  allowed_models: string[]
  created_at: Date
  expires_at: Date | null
  last_used_at: Date | null
  disabled_at: Date | null
  budget_key_id: ApiKeyId | null
  backup_of: ApiKeyId | null
  asleep: boolean
  rotated_from: ApiKeyId | null
  rotated_to: ApiKeyId | null
  minted_by: ApiKeyId | null
  rotate_every_days: number | null
  rotate_next_at: Date | null
  owner_user_id: UserId | null
  service_account_id: ServiceAccountId | null
  owner_name: string | null
  owner_email: string | null
  /** In the project; of an admin key's owner in the organization. */
  owner_role: string | null
  owner_created_at: Date | null
  owner_active: boolean
}

/** What a key may do, from where and until when. */
export type KeySettings = {
  readonly name: string
  /** Empty: All. */
  readonly scopes: readonly string[]
  readonly allowedCidrs: readonly string[]
  readonly allowedOrigins: readonly string[]
  /** Empty: every model that the project may call. */
  readonly allowedModels: readonly string[]
  readonly expiresAt: Date | null
  readonly rotateEveryDays: number | null
}

export type NewApiKey = KeySettings & {
  readonly id: ApiKeyId
  readonly kind: KeyKind
  readonly organizationId: OrganizationId
  /** Null for admin keys alone. */
  readonly projectId: ProjectId | null
  /** Null for what a machine made for itself, and for service accounts' keys. */
  readonly ownerUserId: UserId | null
  readonly serviceAccountId: ServiceAccountId | null
  readonly secretHash: Buffer
  readonly pepperId: string
  readonly redacted: string
  /** Whose budget it spends; null for its own. */
  readonly budgetKeyId: ApiKeyId | null
  readonly backupOf: ApiKeyId | null
  readonly rotatedFrom: ApiKeyId | null
  readonly mintedBy: ApiKeyId | null
  /** Of the command line on a server's own machine. */
  readonly isLocal: boolean
}

/** Where a key is looked for: outside of it, it does not exist. */
export type KeyPlace = { readonly organizationId: OrganizationId; readonly projectId: ProjectId | null }

/** Is this user a member of the project, or an owner of the organization? As grants.ts sees it. */
const reaches = (user: string, project: string, organization: string): string =>
  `(${user}.removed_at is null and (${user}.role = 'owner'
    or exists (select from project_users pu where pu.project_id = ${project} and pu.user_id = ${user}.id)
    or exists (select from project_groups g join group_users gu on gu.group_id = g.group_id
      where g.project_id = ${project} and gu.user_id = ${user}.id)
    or exists (select from role_assignments a where a.organization_id = ${organization}
      and (a.project_id is null or a.project_id = ${project}) and a.principal_id in (
        select ${user}.id union all select gu.group_id from group_users gu where gu.user_id = ${user}.id))))`

/** Over `api_keys`, its owner `u` or its service account `s`. */
export const ownerActive = `case when api_keys.owner_user_id is null then s.deleted_at is null
    else ${reaches('u', 'api_keys.project_id', 'api_keys.organization_id')} end`

const projectRole = `coalesce((select held.role from (
      select pu.role from project_users pu where pu.project_id = api_keys.project_id and pu.user_id = u.id
      union all
      select g.role from project_groups g join group_users gu on gu.group_id = g.group_id
        where g.project_id = api_keys.project_id and gu.user_id = u.id) held
    order by array_position(array['owner', 'member', 'viewer'], held.role) limit 1), u.role)`

const selectKeys = `select api_keys.id, api_keys.kind, api_keys.name, api_keys.redacted, api_keys.scopes,
    api_keys.allowed_cidrs::text[] as allowed_cidrs, api_keys.allowed_origins,
    api_keys.allowed_models, api_keys.created_at, api_keys.expires_at, api_keys.last_used_at, api_keys.disabled_at, api_keys.budget_key_id,
    api_keys.backup_of, coalesce(ahead.id is not null and ahead.revoked_at is null, false) as asleep,
    api_keys.rotated_from, (select r.id from api_keys r where r.rotated_from = api_keys.id) as rotated_to,
    api_keys.minted_by, api_keys.rotate_every_days, api_keys.rotate_next_at, api_keys.owner_user_id,
    api_keys.service_account_id, coalesce(u.name, s.name) as owner_name, u.email as owner_email,
    coalesce(s.role, ${projectRole}) as owner_role,
    coalesce(u.created_at, s.created_at) as owner_created_at, ${ownerActive} as owner_active
  from api_keys
    left join users u on u.id = api_keys.owner_user_id
    left join service_accounts s on s.id = api_keys.service_account_id
    left join api_keys ahead on ahead.id = api_keys.backup_of`

type Level = 'project' | 'admin'
const levelOf = ({ projectId }: KeyPlace): Level => (projectId === null ? 'admin' : 'project')

/** Two conditions, so that each has its index: `is not distinct from` has none. */
const ofLevel = (row: string, level: Level): string =>
  `${row}.organization_id = $1 and
    ${level === 'admin' ? `${row}.kind = 'admin' and $2::text is null` : `${row}.project_id = $2`}`

const livingOf = (level: Level): string => `${ofLevel('api_keys', level)} and api_keys.revoked_at is null`
const inPlace = (place: KeyPlace): string => livingOf(levelOf(place))

type Access = 'active' | 'inactive' | 'any'
export type KeysRequest = PageRequest & { readonly ownerAccess?: Access }

function keysPage(place: KeyPlace, { order, ownerAccess = 'any' }: KeysRequest): string {
  // A key that was revoked since the page before still says where the next one begins
  const list = { table: 'api_keys', columns: ['created_at', 'id'], id: 'id', within: ofLevel('c', levelOf(place)) }
  const listed = `${inPlace(place)} and api_keys.minted_by is null`
  const page = `${listed} and ${behindCursor(list, order, ['$3', '$4'])}`
  if (ownerAccess === 'any') return `${selectKeys} where ${page}`
  if (ownerAccess === 'active') return `${selectKeys} where ${ownerActive} and ${page}`
  // Few owners among many have lost their access: a page of each of those is read, not the keys of everybody
  return `${selectKeys} where api_keys.id = any(array(
      select theirs.id from users gone cross join lateral (
        select api_keys.id from api_keys where api_keys.owner_user_id = gone.id and ${page}) theirs
      where gone.organization_id = $1 and not ${reaches('gone', '$2', '$1')})) order by ${sorted(order)} limit $4`
}

const sorted = (order: Order): string => `api_keys.created_at ${order}, api_keys.id ${order}`

/** Keys that live, of one project, without client secrets; admin keys where the project is null. */
export async function listApiKeys(database: Queryable, place: KeyPlace, page: KeysRequest): Promise<Page<ApiKeyRow>> {
  const values = [place.organizationId, place.projectId, page.after ?? null, rowsToRead(page)]
  return toPage(await database.query<ApiKeyRow>(sql(keysPage(place, page)), values), page)
}

const byId = (level: Level): string => `${selectKeys} where ${livingOf(level)} and api_keys.id = $3`
/** To plan it takes far longer than to run it, and every change of a key asks for one row. */
const keyById = {
  project: prepared('project_key_by_id', byId('project')),
  admin: prepared('admin_key_by_id', byId('admin')),
}

export async function findApiKey(database: Queryable, place: KeyPlace, id: string): Promise<ApiKeyRow | undefined> {
  const [row] = await database.query<ApiKeyRow>(keyById[levelOf(place)], [place.organizationId, place.projectId, id])
  return row
}

/** Holds the key as it is until the transaction ends, so that two callers cannot both replace it. */
export async function lockApiKey(tx: Queryable, place: KeyPlace, id: string): Promise<ApiKeyRow | undefined> {
  const lock = `select from api_keys where ${inPlace(place)} and id = $3 for update`
  const locked = await tx.query(sql(lock), [place.organizationId, place.projectId, id])
  // Read after the lock and not with it: what another transaction did meanwhile is then in all of its columns
  return locked.length === 0 ? undefined : findApiKey(tx, place, id)
}

export async function insertApiKey(tx: Queryable, key: NewApiKey): Promise<void> {
  await tx.query(
    sql(`insert into api_keys (id, kind, organization_id, project_id, owner_user_id, service_account_id, name, secret_hash,
           pepper_id, redacted, scopes, expires_at, allowed_cidrs, allowed_origins, budget_key_id, backup_of,
           rotated_from, minted_by, rotate_every_days, allowed_models, is_local, rotate_next_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
           address_blocks($13), $14, $15, $16, $17, $18, $19, $20, $21, now() + make_interval(days => $19))`),
    [
      key.id,
      key.kind,
      key.organizationId,
      key.projectId,
      key.ownerUserId,
      key.serviceAccountId,
      key.name,
      key.secretHash,
      key.pepperId,
      key.redacted,
      key.scopes,
      key.expiresAt,
      key.allowedCidrs,
      key.allowedOrigins,
      key.budgetKeyId,
      key.backupOf,
      key.rotatedFrom,
      key.mintedBy,
      key.rotateEveryDays,
      key.allowedModels,
      key.isLocal,
    ],
  )
}

/** What is undefined stays. The schedule begins anew only when its length was given. */
export async function updateApiKey(
  tx: Queryable,
  id: ApiKeyId,
  { name, scopes, allowedCidrs, allowedOrigins, expiresAt, rotateEveryDays, allowedModels }: Partial<KeySettings>,
): Promise<void> {
  await tx.query(
    sql(`update api_keys set updated_at = now(), name = coalesce($2, name), scopes = coalesce($3, scopes),
           allowed_cidrs = case when $4::text[] is null then allowed_cidrs else address_blocks($4) end,
           allowed_origins = coalesce($5, allowed_origins), allowed_models = coalesce($9, allowed_models),
           expires_at = coalesce($6, expires_at),
           rotate_every_days = case when $7 then $8 else rotate_every_days end,
           rotate_next_at = case when $7 then now() + make_interval(days => $8) else rotate_next_at end
         where id = $1`),
    [
      id,
      name,
      scopes,
      allowedCidrs,
      allowedOrigins,
      expiresAt,
      rotateEveryDays !== undefined,
      rotateEveryDays,
      allowedModels,
    ],
  )
}

export async function setDisabled(tx: Queryable, id: ApiKeyId, disabled: boolean): Promise<void> {
  const text = `update api_keys set updated_at = now(),
    disabled_at = case when $2 then coalesce(disabled_at, now()) end where id = $1`
  await tx.query(sql(text), [id, disabled])
}

/** The row stays: usage names it. False when there is no such living key. */
export async function revokeApiKey(tx: Queryable, place: KeyPlace, id: string, reason?: string): Promise<boolean> {
  const text = `update api_keys set revoked_at = now(), revoke_reason = $4
    where ${inPlace(place)} and id = $3 returning id`
  return (await tx.query(sql(text), [place.organizationId, place.projectId, id, reason])).length > 0
}

/** Revokes the key that this hash is of, and says which one it was. */
export async function revokeByHash(tx: Queryable, secretHash: Buffer): Promise<ApiKeyId | undefined> {
  const text = 'update api_keys set revoked_at = now() where secret_hash = $1 and revoked_at is null returning id'
  const [row] = await tx.query<{ id: ApiKeyId }>(sql(text), [secretHash])
  return row?.id
}

/**
 * Is this the last admin key that works and can make others? It is an owner's who is still there: what machines mint for
 * themselves goes when they stop. Locks the organization, so that two callers cannot each leave it to the other's key.
 * @param making scopes of which one is enough to make admin keys
 */
export async function isLastAdminKey(
  tx: Queryable,
  organization: OrganizationId,
  { id, making }: { readonly id: string; readonly making: readonly string[] },
): Promise<boolean> {
  await tx.query(sql('select from organizations where id = $1 for update'), [organization])
  const text = `select coalesce(bool_and(k.id = $2), false) as last
    from api_keys k join users u on u.id = k.owner_user_id
    where k.organization_id = $1 and k.kind = 'admin' and k.revoked_at is null and k.disabled_at is null
      and (k.expires_at is null or k.expires_at > now()) and (k.scopes = '{}' or k.scopes && $3)
      and u.removed_at is null and u.role = 'owner'`
  return only(await tx.query<{ last: boolean }>(sql(text), [organization, id, making])).last
}
