/** Keys that live by another key: what replaces it, what sleeps behind it, what it minted for browsers. */
import type { ApiKeyId } from '#contract/ids.ts'
import { only, type Queryable, sql } from './database.ts'

/** Does what happens to this key change what others may do: its sleeping backup, its client secrets? */
export async function hasDependents(tx: Queryable, id: string): Promise<boolean> {
  const text = `select exists (select from api_keys where backup_of = $1 and revoked_at is null)
    or exists (select from api_keys where minted_by = $1 and revoked_at is null and expires_at > now()) as found`
  return only(await tx.query<{ found: boolean }>(sql(text), [id])).found
}

/** The living key that sleeps behind this one. */
export async function findBackup(tx: Queryable, id: ApiKeyId): Promise<ApiKeyId | undefined> {
  const text = 'select id from api_keys where backup_of = $1 and revoked_at is null limit 1'
  const [row] = await tx.query<{ id: ApiKeyId }>(sql(text), [id])
  return row?.id
}

/** The old key works until the end of the grace, never past its own expiry; what slept behind it sleeps behind the new one. */
export async function replaceKey(
  tx: Queryable,
  { old, by, graceEndsAt }: { old: ApiKeyId; by: ApiKeyId; graceEndsAt: Date },
): Promise<Date> {
  await tx.query(sql('update api_keys set backup_of = $2 where backup_of = $1'), [old, by])
  const text = `update api_keys set expires_at = least(expires_at, $2), rotate_next_at = null, updated_at = now()
    where id = $1 returning expires_at`
  return only(await tx.query<{ expires_at: Date }>(sql(text), [old, graceEndsAt])).expires_at
}

/** How many client secrets of a key live; counts no further than asked. */
export async function countClientSecrets(tx: Queryable, mintedBy: ApiKeyId, upTo: number): Promise<number> {
  const text = `select count(*) as count from (
    select from api_keys where minted_by = $1 and expires_at > now() and revoked_at is null limit $2) living`
  return Number(only(await tx.query<{ count: bigint }>(sql(text), [mintedBy, upTo])).count)
}

/** They were minted for what their key was allowed before: it mints new ones. */
export async function revokeClientSecrets(tx: Queryable, mintedBy: ApiKeyId): Promise<void> {
  const text = `update api_keys set revoked_at = now(), revoke_reason = 'its key was changed'
    where minted_by = $1 and revoked_at is null and expires_at > now()`
  await tx.query(sql(text), [mintedBy])
}
