/** Service accounts and their keys. */
import { apiError } from '#contract/errors.ts'
import { newId } from '#contract/ids.ts'
import type { serviceAccounts } from '#contract/service-accounts.ts'
import type { Grant } from '#core/grant.ts'
import { requireGrantable, requireGrantableKey } from '#core/granting.ts'
import { projectPermissions } from '#core/roles.ts'
import type { ApiKeyRow } from '#storage/api-keys.ts'
import type { Queryable } from '#storage/database.ts'
import {
  deleteServiceAccount,
  findServiceAccount,
  insertServiceAccount,
  listServiceAccounts,
  lockServiceAccount,
  type ServiceAccountRow,
  updateServiceAccount,
} from '#storage/service-accounts.ts'
import { activeProject } from './active-project.ts'
import { change } from './change.ts'
import { existingKey, openPlace, type ProjectPlace, placeOf } from './existing-key.ts'
import type { Handlers } from './handler.ts'
import { keyCreated } from './key-audit.ts'
import { checkLifetime, keyPolicyOf } from './key-policy.ts'
import { readKeySettings } from './key-settings.ts'
import { expiryOf, type KeyDraft, mintKey } from './mint-key.ts'
import { nothingToChange } from './nothing-to-change.ts'
import { toList, unixSeconds, unixSecondsOrNull } from './page.ts'
import type { PlatformParts } from './platform.ts'

const keyNameDefault = 'Secret Key'

export const serviceAccountHandlers: Handlers<typeof serviceAccounts> = {
  async list({ database }, { grant, params, query }) {
    const { projectId } = await placeOf(database, grant, params.project_id)
    return toList(await listServiceAccounts(database, projectId, query), showAccount, row => row.id)
  },

  create(parts, call) {
    const { grant, params, body } = call
    const only = body.create_service_account_only === true
    if (only && typeof body.expires_in_seconds === 'number') throw keylessExpiry()
    return change(parts, call, async tx => {
      const place = await openPlace(tx, grant, params.project_id)
      const role = only ? ('none' as const) : ('member' as const)
      const account = await insertServiceAccount(tx, {
        ...idsOf(place),
        id: newId('service_account'),
        name: body.name,
        role,
      })
      const made = only
        ? undefined
        : await mintFor(tx, parts, { grant, place, account, expiresIn: body.expires_in_seconds })
      const { project } = place
      const data = { name: account.name, role }
      return {
        answer: { ...showAccount(account), role, api_key: made ? showKey(made) : null },
        audit: [
          { type: 'service_account.created', project, resourceId: account.id, detail: { data } },
          ...(made ? [keyCreated(made.row, project)] : []),
        ],
        affects: made ? [['api_key', made.row.id]] : [],
      }
    })
  },

  async retrieve({ database }, { grant, params }) {
    const { projectId } = await placeOf(database, grant, params.project_id)
    return showAccount(existingAccount(await findServiceAccount(database, projectId, params.service_account_id)))
  },

  update(parts, call) {
    const { grant, params, body } = call
    if (Object.keys(body).length === 0) throw nothingToChange()
    return change(parts, call, async tx => {
      const project = await activeProject(tx, grant, params.project_id)
      if (body.role !== undefined) requireGrantable(grant, projectPermissions(body.role))
      const wanted = { id: params.service_account_id, name: body.name, role: body.role }
      const row = existingAccount(await updateServiceAccount(tx, project.id, wanted))
      const detail = { changes_requested: body }
      return {
        answer: showAccount(row),
        audit: [{ type: 'service_account.updated', project, resourceId: row.id, detail }],
        affects: body.role === undefined ? [] : [['project', project.id]],
      }
    })
  },

  delete(parts, call) {
    const { grant, params } = call
    const id = params.service_account_id
    return change(parts, call, async tx => {
      const { projectId, project } = await placeOf(tx, grant, params.project_id)
      if (!(await deleteServiceAccount(tx, projectId, id))) throw noSuchAccount()
      return {
        answer: { id, object: 'organization.project.service_account.deleted', deleted: true },
        audit: [{ type: 'service_account.deleted', project, resourceId: id }],
        affects: [['project', projectId]],
      }
    })
  },

  createApiKey(parts, call) {
    const { grant, params, body } = call
    return change(parts, call, async tx => {
      const place = await openPlace(tx, grant, params.project_id)
      const account = existingAccount(await lockServiceAccount(tx, place.projectId, params.service_account_id))
      const settings = { ...(await readKeySettings(tx, body)), ...(body.name !== undefined && { name: body.name }) }
      const made = await mintFor(tx, parts, { grant, place, account, expiresIn: body.expires_in_seconds, settings })
      return {
        answer: showKey(made),
        audit: [keyCreated(made.row, place.project)],
        affects: [['api_key', made.row.id]],
      }
    })
  },
}

type Made = { readonly row: ApiKeyRow; readonly value: string }

async function mintFor(
  tx: Queryable,
  { secrets, wallClock }: PlatformParts,
  wanted: {
    readonly grant: Grant
    readonly place: ProjectPlace
    readonly account: ServiceAccountRow
    readonly expiresIn: number | null | undefined
    readonly settings?: Partial<KeyDraft>
  },
): Promise<Made> {
  const { grant, place, account, expiresIn, settings } = wanted
  const expiresAt = expiryOf(wallClock(), expiresIn)
  requireGrantableKey(grant, { ownerUserId: null, scopes: settings?.scopes ?? [] })
  checkLifetime(await keyPolicyOf(tx, place), expiresAt, wallClock())
  const { id, value } = await mintKey(tx, secrets, {
    ...idsOf(place),
    kind: 'service_account',
    ownerUserId: null,
    serviceAccountId: account.id,
    name: keyNameDefault,
    ...settings,
    expiresAt,
  })
  return { row: await existingKey(tx, place, id), value }
}

const idsOf = ({ organizationId, projectId }: ProjectPlace) => ({ organizationId, projectId })

/** @throws ApiError not_found */
function existingAccount(row: ServiceAccountRow | undefined): ServiceAccountRow {
  if (!row) throw noSuchAccount()
  return row
}

const noSuchAccount = (): Error => apiError('not_found', { what: 'service account in this project' })

const keylessExpiry = (): Error =>
  apiError('invalid_parameter', {
    param: 'expires_in_seconds',
    message: 'With create_service_account_only there is no key that could expire. Leave expires_in_seconds out.',
    code: 'invalid_value',
  })

const showAccount = (row: ServiceAccountRow) => ({
  object: 'organization.project.service_account' as const,
  id: row.id as string,
  name: row.name,
  role: row.role,
  created_at: unixSeconds(row.created_at),
})

const showKey = ({ row, value }: Made) => ({
  object: 'organization.project.service_account.api_key' as const,
  id: row.id as string,
  name: row.name,
  value,
  created_at: unixSeconds(row.created_at),
  expires_at: unixSecondsOrNull(row.expires_at),
})
