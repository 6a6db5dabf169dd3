/** One call for the worst hour: the key is dead everywhere within a second, its streams are cut, and what it did is told. */
import type { compromisedKeys } from '#contract/compromised-keys.ts'
import type { Grant } from '#core/grant.ts'
import { formatUsd, nanoUsd } from '#core/money.ts'
import { type ApiKeyRow, lockApiKey, revokeApiKey } from '#storage/api-keys.ts'
import type { Queryable } from '#storage/database.ts'
import { type KeyActivity, type KeyUse, readKeyActivity } from '#storage/key-activity.ts'
import { findBackup } from '#storage/key-successors.ts'
import { ownerAddresses } from '#storage/mails.ts'
import { type Change, change } from './change.ts'
import { affectedBy, conflict, existingKey, noSuchKey, openPlace, type ProjectPlace, placeOf } from './existing-key.ts'
import type { Call, Handlers } from './handler.ts'
import { keyCreated } from './key-audit.ts'
import { readKeySettings } from './key-settings.ts'
import { queueMail } from './mail/queue-mail.ts'
import { expiryOf } from './mint-key.ts'
import { unixSeconds } from './page.ts'
import type { PlatformParts } from './platform.ts'
import { mintLike } from './replace-key.ts'
import { showProjectKey } from './show-project-key.ts'

const hourMs = 3_600_000
const reason = 'compromised'

type ReportCall = Call<typeof compromisedKeys.report>

export const compromisedKeyHandlers: Handlers<typeof compromisedKeys> = {
  async report(parts, call) {
    const nowMs = parts.wallClock()
    const revoked = await change(parts, call, tx => revokeAndReplace(tx, parts, call))
    // After the commit: nobody is to wait for a report until the key is dead
    const window = { from: new Date(nowMs - call.body.window_hours * hourMs), to: new Date(parts.wallClock()) }
    const activity = await readKeyActivity(parts.database, revoked.key, window)
    return {
      object: 'organization.project.api_key.compromised',
      id: revoked.key,
      revoked_at: Math.floor(nowMs / 1000),
      replacement: revoked.replacement,
      woken_backup_id: revoked.backup,
      activity: showActivity(activity, window),
    }
  },
}

async function revokeAndReplace(tx: Queryable, parts: PlatformParts, call: ReportCall) {
  const { grant, params, body } = call
  const inProject = body.replacement ? openPlace : placeOf
  const place = await inProject(tx, grant, params.project_id)
  const key = await lockApiKey(tx, place, params.key_id)
  if (!key) throw noSuchKey()
  const affects = await affectedBy(tx, place.projectId, key.id)
  const backup = (await findBackup(tx, key.id)) ?? null
  await revokeApiKey(tx, place, key.id, reason)
  const minted = body.replacement ? await replace(tx, parts, { grant, place, key, asked: body.replacement }) : null
  const { project } = place
  await queueMail(tx, 'key_compromised', {
    organizationId: place.organizationId,
    to: await ownerAddresses(tx, place.organizationId),
    about: {
      keyId: key.id,
      name: key.name,
      redacted: key.redacted,
      project: project.name,
      replacementId: minted?.row.id ?? null,
    },
  })
  return {
    answer: { key: key.id, backup, replacement: minted && { ...minted.shown, value: minted.value } },
    audit: [
      { type: 'api_key.deleted', project, resourceId: key.id, detail: { data: { reason } } },
      ...(minted ? [keyCreated(minted.row, project)] : []),
    ],
    affects: [...affects, ...(minted ? [['api_key', minted.row.id] as const] : [])],
  } satisfies Change<unknown>
}

type Asked = NonNullable<ReportCall['body']['replacement']>

async function replace(
  tx: Queryable,
  parts: PlatformParts,
  { grant, place, key, asked }: { grant: Grant; place: ProjectPlace; key: ApiKeyRow; asked: Asked },
) {
  const nowMs = parts.wallClock()
  if (key.minted_by !== null) throw notReplaced(key)
  const { scopes, allowedCidrs, allowedModels } = await readKeySettings(tx, asked)
  const expiresAt = expiryOf(nowMs, asked.expires_in_seconds) ?? key.expires_at
  if (expiresAt && expiresAt.getTime() <= nowMs) throw expiryMissing(key)
  const changes = {
    ...(scopes && { scopes }),
    ...(allowedCidrs && { allowedCidrs }),
    ...(allowedModels && { allowedModels }),
    expiresAt,
    // What was rotated already has its successor; a key has one
    rotatedFrom: key.rotated_to === null ? key.id : null,
  }
  const { id, value } = await mintLike(tx, parts, { grant, place, old: key, changes })
  const row = await existingKey(tx, place, id)
  return { row, value, shown: showProjectKey(row, nowMs) }
}

const notReplaced = ({ id, minted_by: minter }: ApiKeyRow): Error =>
  conflict(`${id} is a client secret: leave out replacement, and mint another one with ${minter}.`)

const expiryMissing = ({ id }: ApiKeyRow): Error =>
  conflict(`The API key ${id} has expired: send replacement.expires_in_seconds, or leave out replacement.`)

function showActivity({ models, addresses }: KeyActivity, { from, to }: { from: Date; to: Date }) {
  const times = models.flatMap(({ firstUsedAt, lastUsedAt }) => [unixSeconds(firstUsedAt), unixSeconds(lastUsedAt)])
  return {
    from: unixSeconds(from),
    to: unixSeconds(to),
    calls: models.reduce((sum, { calls }) => sum + calls, 0),
    cost_usd: formatUsd(nanoUsd(models.reduce((sum, { cost }) => sum + cost, 0n))),
    first_used_at: times.length === 0 ? null : Math.min(...times),
    last_used_at: times.length === 0 ? null : Math.max(...times),
    models: models.map(({ name, inputTokens, outputTokens, ...use }) => ({
      model: name,
      input_tokens: inputTokens,
      output_tokens: outputTokens,
      ...showUse(use),
    })),
    addresses: addresses.map(({ name, ...use }) => ({ address: name, ...showUse(use) })),
  }
}

const showUse = ({
  calls,
  cost,
  firstUsedAt,
  lastUsedAt,
}: Pick<KeyUse, 'calls' | 'cost' | 'firstUsedAt' | 'lastUsedAt'>) => ({
  calls,
  cost_usd: formatUsd(cost),
  first_used_at: unixSeconds(firstUsedAt),
  last_used_at: unixSeconds(lastUsedAt),
})
