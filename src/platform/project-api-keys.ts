/** API keys of a project. */
import { apiError } from '#contract/errors.ts'
import type { projectApiKeys } from '#contract/project-api-keys.ts'
import type { Grant } from '#core/grant.ts'
import { requireGrantableKey } from '#core/granting.ts'
import { type ApiKeyRow, type KeySettings, listApiKeys, setDisabled, updateApiKey } from '#storage/api-keys.ts'
import type { Queryable } from '#storage/database.ts'
import { lockBudgets, setKeyBudget } from '#storage/key-budgets.ts'
import { revokeClientSecrets } from '#storage/key-successors.ts'
import { ownerFor } from './admin-api-keys.ts'
import { change, type Source } from './change.ts'
import {
  affectedBy,
  changeableKey,
  conflict,
  existingKey,
  openPlace,
  type ProjectPlace,
  placeOf,
} from './existing-key.ts'
import type { Handlers } from './handler.ts'
import { keyCreated } from './key-audit.ts'
import { budgetChanged, readBudget } from './key-budgets.ts'
import { checkLifetime, checkLonger, checkOwner, keyPolicyOf } from './key-policy.ts'
import { readKeySettings } from './key-settings.ts'
import { expiryOf, mintKey } from './mint-key.ts'
import { nothingToChange } from './nothing-to-change.ts'
import { toList } from './page.ts'
import type { PlatformParts } from './platform.ts'
import { backupKey, rotateKey, sleepingBehind } from './replace-key.ts'
import { revokeKey } from './revoke-key.ts'
import { showProjectKey } from './show-project-key.ts'

export const projectApiKeyHandlers: Handlers<typeof projectApiKeys> = {
  async list({ database, wallClock }, { grant, params, query }) {
    const place = await placeOf(database, grant, params.project_id)
    const page = await listApiKeys(database, place, { ...query, ownerAccess: query.owner_project_access })
    const nowMs = wallClock()
    return toList(
      page,
      row => showProjectKey(row, nowMs),
      row => row.id,
    )
  },

  create(parts, call) {
    const { grant, params, body } = call
    const nowMs = parts.wallClock()
    if (body.budget && body.backup_of !== undefined) throw budgetOfBackup()
    return change(parts, call, async tx => {
      if (body.budget) await lockBudgets(tx)
      const place = await openPlace(tx, grant, params.project_id)
      const { organizationId, projectId } = place
      const expiresAt = expiryOf(nowMs, body.expires_in_seconds)
      const policy = await keyPolicyOf(tx, place)
      checkOwner(policy, 'user')
      checkLifetime(policy, expiresAt, nowMs)
      const ownerUserId = await ownerFor(tx, grant)
      const settings = await readKeySettings(tx, body)
      requireGrantableKey(grant, { ownerUserId, scopes: settings.scopes ?? [] })
      const minted = await mintKey(tx, parts.secrets, {
        organizationId,
        projectId,
        kind: body.test ? 'test' : 'project',
        ownerUserId,
        name: body.name,
        ...settings,
        expiresAt,
        ...(body.backup_of !== undefined && (await sleepingBehind(tx, place, body.backup_of, nowMs))),
      })
      if (body.budget) await setKeyBudget(tx, minted.id, readBudget(body.budget))
      const row = await existingKey(tx, place, minted.id)
      return {
        answer: { ...showProjectKey(row, nowMs), value: minted.value },
        audit: [
          keyCreated(row, place.project),
          ...(body.budget ? [budgetChanged(place, row, readBudget(body.budget))] : []),
        ],
        affects: [['api_key', row.id]],
      }
    })
  },

  async retrieve({ database, wallClock }, { grant, params }) {
    const place = await placeOf(database, grant, params.project_id)
    return showProjectKey(await existingKey(database, place, params.key_id), wallClock())
  },

  update(parts, call) {
    const { body } = call
    if (Object.keys(body).length === 0) throw nothingToChange()
    const nowMs = parts.wallClock()
    return changeKey(parts, call, body, async (tx, place, row) => {
      const expiresAt = expiryOf(nowMs, body.expires_in_seconds)
      if (expiresAt && row.rotated_to !== null) throw replaced(row)
      if (expiresAt) checkLonger(await keyPolicyOf(tx, place), row, expiresAt, nowMs)
      const settings = await readKeySettings(tx, body)
      const { scopes } = settings
      if (scopes) requireGrantableKey(call.grant, { ownerUserId: row.owner_user_id, scopes }, row.scopes)
      await update(tx, row, {
        ...settings,
        ...(body.name !== undefined && { name: body.name }),
        ...(expiresAt && { expiresAt }),
      })
    })
  },

  rotate: (parts, call) => change(parts, call, tx => rotateKey(tx, parts, call)),
  backup: (parts, call) => change(parts, call, tx => backupKey(tx, parts, call)),
  disable: (parts, call) =>
    changeKey(parts, call, { disabled: true }, (tx, _place, row) => setDisabled(tx, row.id, true)),
  enable: (parts, call) =>
    changeKey(parts, call, { disabled: false }, (tx, _place, row) => setDisabled(tx, row.id, false)),

  delete(parts, call) {
    const { grant, params } = call
    return change(parts, call, async tx => {
      const place = await placeOf(tx, grant, params.project_id)
      const { affects } = await revokeKey(tx, place, params.key_id)
      return {
        answer: { id: params.key_id, object: 'organization.project.api_key.deleted', deleted: true },
        audit: [{ type: 'api_key.deleted', project: place.project, resourceId: params.key_id }],
        affects,
      }
    })
  },
}

const budgetOfBackup = (): Error =>
  apiError('invalid_parameter', {
    param: 'budget',
    message: "Invalid 'budget': a backup key spends the budget of the key that it backs up. Set it there.",
  })

type KeyCall = {
  readonly grant: Grant
  readonly source: Source
  readonly params: { readonly project_id: string; readonly key_id: string }
}

/** @param requested as the audit log shows it */
function changeKey(
  parts: PlatformParts,
  call: KeyCall,
  requested: object,
  work: (tx: Queryable, place: ProjectPlace, row: ApiKeyRow) => Promise<void>,
) {
  return change(parts, call, async tx => {
    const place = await placeOf(tx, call.grant, call.params.project_id)
    const row = await changeableKey(tx, place, call.params.key_id, parts.wallClock())
    const affects = await affectedBy(tx, place.projectId, row.id)
    await work(tx, place, row)
    return {
      answer: showProjectKey(await existingKey(tx, place, row.id), parts.wallClock()),
      audit: [
        {
          type: 'api_key.updated',
          project: place.project,
          resourceId: row.id,
          detail: { changes_requested: requested },
        },
      ],
      affects,
    }
  })
}

async function update(tx: Queryable, { id }: ApiKeyRow, settings: Partial<KeySettings>): Promise<void> {
  await updateApiKey(tx, id, settings)
  if (settings.scopes || settings.allowedOrigins || settings.allowedModels) await revokeClientSecrets(tx, id)
}

const replaced = ({ id, rotated_to: successor }: ApiKeyRow): Error =>
  conflict(
    `The API key ${id} was rotated and ends with its grace. Change the expiry of ${successor}, which replaces it.`,
  )
