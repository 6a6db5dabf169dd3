/** API keys as people manage them. What a key may do is read elsewhere (grants.ts); its secret is kept nowhere. */
import type { ApiKeyId, OrganizationId, ProjectId, UserId } from '#contract/ids.ts'
import type { KeyKind } from '#core/key-format.ts'
import { only, type Queryable, sql } from './database.ts'
import { behindCursor, type Order, type Page, type PageRequest, rowsToRead, toPage } from './keyset.ts'

export type ApiKeyRow = {
  id: ApiKeyId
  kind: KeyKind
  name: string
  redacted: string
  scopes: string[]
  created_at: Date
  expires_at: Date | null
  last_used_at: Date | null
  owner_user_id: UserId | null
  owner_name: string | null
  owner_email: string | null
  owner_role: string | null
  owner_created_at: Date | null
}

export type NewApiKey = {
  readonly id: ApiKeyId
  readonly kind: KeyKind
  readonly organizationId: OrganizationId
  /** Null for admin keys alone. */
  readonly projectId: ProjectId | null
  /** Null for what a machine made for itself. */
  readonly ownerUserId: UserId | null
  readonly name: string
  readonly secretHash: Buffer
  readonly pepperId: string
  readonly redacted: string
  /** Empty: All. */
  readonly scopes: readonly string[]
  readonly expiresAt: Date | null
}

/** Where a key is looked for: outside of it, it does not exist. */
export type KeyPlace = { readonly organizationId: OrganizationId; readonly projectId: ProjectId | null }

const selectKeys = `select api_keys.id, api_keys.kind, api_keys.name, api_keys.redacted, api_keys.scopes,
    api_keys.created_at, api_keys.expires_at, api_keys.last_used_at, api_keys.owner_user_id, u.name as owner_name,
    u.email as owner_email, u.role as owner_role, u.created_at as owner_created_at
  from api_keys left join users u on u.id = api_keys.owner_user_id`

const inPlace = (row: string): string =>
  `${row}.organization_id = $1 and ${row}.project_id is not distinct from $2 and ${row}.revoked_at is null`

const keyList = { table: 'api_keys', columns: ['created_at', 'id'], id: 'id', within: inPlace('c') }
const keysPage = (order: Order): string =>
  `${selectKeys} where ${inPlace('api_keys')} and ${behindCursor(keyList, order, ['$3', '$4'])}`

/** Keys that live, of one project; admin keys where the project is null. */
export async function listApiKeys(database: Queryable, place: KeyPlace, page: PageRequest): Promise<Page<ApiKeyRow>> {
  const values = [place.organizationId, place.projectId, page.after ?? null, rowsToRead(page)]
  return toPage(await database.query<ApiKeyRow>(sql(keysPage(page.order)), values), page)
}

export async function findApiKey(database: Queryable, place: KeyPlace, id: string): Promise<ApiKeyRow | undefined> {
  const text = `${selectKeys} where ${inPlace('api_keys')} and api_keys.id = $3`
  const [row] = await database.query<ApiKeyRow>(sql(text), [place.organizationId, place.projectId, id])
  return row
}

export async function insertApiKey(tx: Queryable, key: NewApiKey): Promise<void> {
  await tx.query(
    sql(`insert into api_keys (id, kind, organization_id, project_id, owner_user_id, name, secret_hash, pepper_id,
           redacted, scopes, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`),
    [
      key.id,
      key.kind,
      key.organizationId,
      key.projectId,
      key.ownerUserId,
      key.name,
      key.secretHash,
      key.pepperId,
      key.redacted,
      key.scopes,
      key.expiresAt,
    ],
  )
}

/** The row stays: usage names it. False when there is no such living key. */
export async function revokeApiKey(tx: Queryable, place: KeyPlace, id: string): Promise<boolean> {
  const text = `update api_keys set revoked_at = now() where ${inPlace('api_keys')} and id = $3 returning id`
  return (await tx.query(sql(text), [place.organizationId, place.projectId, id])).length > 0
}

/** Revokes the key that this hash is of, and says which one it was. */
export async function revokeByHash(tx: Queryable, secretHash: Buffer): Promise<ApiKeyId | undefined> {
  const text = 'update api_keys set revoked_at = now() where secret_hash = $1 and revoked_at is null returning id'
  const [row] = await tx.query<{ id: ApiKeyId }>(sql(text), [secretHash])
  return row?.id
}

/**
 * Admin keys that people hold and that live on, besides this one. What machines mint for themselves does not count: it
 * goes when they stop. Locks the organization, so that two callers cannot each leave it to the other's key.
 */
export async function countOtherAdminKeys(tx: Queryable, organization: OrganizationId, id: string): Promise<number> {
  await tx.query(sql('select from organizations where id = $1 for update'), [organization])
  const text = `select count(*) as count from api_keys where organization_id = $1 and kind = 'admin' and id <> $2
    and revoked_at is null and owner_user_id is not null and (expires_at is null or expires_at > now())`
  return Number(only(await tx.query<{ count: bigint }>(sql(text), [organization, id])).count)
}
