/** Keys that take the place of others: by rotation, with both working for a while, or as a backup that sleeps until then. */
import type { ApiKeyId } from '#contract/ids.ts'
import type { projectApiKeys } from '#contract/project-api-keys.ts'
import type { Grant } from '#core/grant.ts'
import { requireGrantableKey } from '#core/granting.ts'
import type { ApiKeyRow } from '#storage/api-keys.ts'
import type { Queryable } from '#storage/database.ts'
import { findBackup, replaceKey } from '#storage/key-successors.ts'
import type { Change } from './change.ts'
import { affectedBy, changeableKey, conflict, existingKey, openPlace, type ProjectPlace } from './existing-key.ts'
import type { Call } from './handler.ts'
import { keyCreated } from './key-audit.ts'
import { checkLifetime, checkOwner, keyPolicyOf } from './key-policy.ts'
import { expiryOf, type KeyDraft, mintKey } from './mint-key.ts'
import { unixSeconds, unixSecondsOrNull } from './page.ts'
import type { PlatformParts } from './platform.ts'
import { showProjectKey } from './show-project-key.ts'

type Parts = Pick<PlatformParts, 'secrets' | 'wallClock'>

export async function rotateKey(tx: Queryable, parts: Parts, call: Call<typeof projectApiKeys.rotate>) {
  const { grant, params, body } = call
  const nowMs = parts.wallClock()
  const place = await openPlace(tx, grant, params.project_id)
  const old = await changeableKey(tx, place, params.key_id, nowMs)
  checkRotatable(old)
  const affected = await affectedBy(tx, place.projectId, old.id)
  // The date until which somebody was given access does not move because the secret does
  const expiresAt = expiryOf(nowMs, body.expires_in_seconds) ?? old.expires_at
  const minted = await mintLike(tx, parts, { grant, place, old, changes: { rotatedFrom: old.id, expiresAt } })
  const graceEndsAt = new Date(nowMs + body.grace_seconds * 1000)
  const endsAt = await replaceKey(tx, { old: old.id, by: minted.id, graceEndsAt })
  const row = await existingKey(tx, place, minted.id)
  const ends = unixSeconds(endsAt)
  const replaced = { id: old.id as string, expires_at: ends, last_used_at: unixSecondsOrNull(old.last_used_at) }
  const detail = { changes_requested: { expires_at: ends, rotated_to: row.id } }
  return {
    answer: { ...showProjectKey(row, nowMs), value: minted.value, replaced },
    audit: [
      keyCreated(row, place.project),
      { type: 'api_key.updated', project: place.project, resourceId: old.id, detail },
    ],
    affects: [...affected, ['api_key', row.id]],
  } satisfies Change<unknown>
}

function checkRotatable({
  id,
  rotated_to: successor,
  asleep,
  backup_of: primary,
  disabled_at: disabled,
}: ApiKeyRow): void {
  if (successor !== null)
    throw conflict(`The API key ${id} was rotated already: ${successor} replaces it. Rotate that.`)
  if (asleep) throw conflict(`${id} is a backup key that sleeps behind ${primary}. Rotate that, or delete this one.`)
  if (disabled) throw conflict(`The API key ${id} is disabled. Enable it, then rotate it.`)
}

export async function backupKey(tx: Queryable, parts: Parts, { grant, params }: Call<typeof projectApiKeys.backup>) {
  const place = await openPlace(tx, grant, params.project_id)
  const nowMs = parts.wallClock()
  const first = await changeableKey(tx, place, params.key_id, nowMs)
  const { backupOf } = await checkBackable(tx, first)
  const minted = await mintLike(tx, parts, { grant, place, old: first, changes: { backupOf, rotateEveryDays: null } })
  const row = await existingKey(tx, place, minted.id)
  return {
    answer: { ...showProjectKey(row, nowMs), value: minted.value },
    audit: [keyCreated(row, place.project)],
    affects: [['api_key', row.id]],
  } satisfies Change<unknown>
}

/** For a new key with settings of its own. @throws ApiError where it cannot sleep behind that key */
export async function sleepingBehind(tx: Queryable, place: ProjectPlace, id: string, nowMs: number) {
  return checkBackable(tx, await changeableKey(tx, place, id, nowMs))
}

async function checkBackable(tx: Queryable, first: ApiKeyRow): Promise<{ backupOf: ApiKeyId; budgetKeyId: ApiKeyId }> {
  const { id, asleep, rotated_to: successor } = first
  if (asleep) throw conflict(`${id} is a backup key itself. Back up the key that it sleeps behind.`)
  if (successor !== null) throw conflict(`The API key ${id} was rotated: ${successor} replaces it. Back up that.`)
  const backup = await findBackup(tx, id)
  if (backup) throw conflict(`The API key ${id} has a backup key, ${backup}. Delete that first.`)
  return { backupOf: id, budgetKeyId: budgetOf(first) }
}

/** Keys that take one another's place spend one budget, so that no replacement doubles it. */
const budgetOf = ({ budget_key_id: shared, id }: ApiKeyRow): ApiKeyId => shared ?? id

type Likeness = {
  readonly grant: Grant
  readonly place: ProjectPlace
  readonly old: ApiKeyRow
  readonly changes: Partial<KeyDraft>
}

/** A key of the old one's settings and budget, but for the changes. */
export async function mintLike(tx: Queryable, { secrets, wallClock }: Parts, { grant, place, old, changes }: Likeness) {
  const draft: KeyDraft = {
    organizationId: place.organizationId,
    projectId: place.projectId,
    kind: old.kind,
    ownerUserId: old.owner_user_id,
    serviceAccountId: old.service_account_id,
    name: old.name,
    scopes: old.scopes,
    allowedCidrs: old.allowed_cidrs,
    allowedOrigins: old.allowed_origins,
    allowedModels: old.allowed_models,
    expiresAt: old.expires_at,
    rotateEveryDays: old.rotate_every_days,
    budgetKeyId: budgetOf(old),
    ...changes,
  }
  requireGrantableKey(grant, { ownerUserId: draft.ownerUserId, scopes: draft.scopes ?? [] })
  const policy = await keyPolicyOf(tx, place)
  checkOwner(policy, old.service_account_id === null ? 'user' : 'service_account')
  checkLifetime(policy, draft.expiresAt ?? null, wallClock())
  return mintKey(tx, secrets, draft)
}
