/** Spend alerts: kept, shown and audited here; jobs/evaluate-spend-alerts.ts sends them. */
import { apiError } from '#contract/errors.ts'
import { newId } from '#contract/ids.ts'
import type { organizationSpendAlerts, projectSpendAlerts, SpendAlertBody } from '#contract/spend-alerts.ts'
import type { Grant } from '#core/grant.ts'
import type { Queryable } from '#storage/database.ts'
import { rearmAlert } from '#storage/due-alerts.ts'
import type { Page } from '#storage/keyset.ts'
import {
  countSpendAlerts,
  deleteSpendAlert,
  findSpendAlert,
  insertSpendAlert,
  listSpendAlerts,
  replaceSpendAlert,
  type SpendAlertDraft,
  type SpendAlertRow,
} from '#storage/spend-alerts.ts'
import type { AuditEntry } from './audit-entry.ts'
import { change } from './change.ts'
import { oneCursor } from './cursors.ts'
import type { Call, Handlers } from './handler.ts'
import { toList, unixSecondsOrNull } from './page.ts'
import type { PlatformParts } from './platform.ts'
import { changePlace, type KeyCaller, type Place, readPlace, settingChanged } from './setting-place.ts'

/** Of one organization or project. More would only be noise in somebody's mail. */
const alertsMax = 100

const toAlert =
  <const Kind extends string>(object: Kind) =>
  (row: SpendAlertRow) => ({
    id: row.id,
    object,
    threshold_amount: row.threshold_cents === null ? null : Number(row.threshold_cents),
    ...(row.threshold_percent !== null && { threshold_percent: row.threshold_percent }),
    currency: 'USD' as const,
    interval: 'month' as const,
    last_fired_at: unixSecondsOrNull(row.last_fired_at),
    notification_channel: {
      type: 'email' as const,
      recipients: row.recipients,
      subject_prefix: row.subject_prefix,
    },
  })
const ofOrganization = toAlert('organization.spend_alert')
const ofProject = toAlert('project.spend_alert')
const idOf = ({ id }: SpendAlertRow): string => id

/** The organization's alerts have the same verbs, at a path that names no project. */
export const organizationSpendAlertHandlers: Handlers<typeof organizationSpendAlerts> = {
  async list(parts, { grant, query }) {
    return toList(await page(parts, { grant, query, params: {} }), ofOrganization, idOf)
  },
  async create(parts, { grant, source, body }) {
    return ofOrganization(await create(parts, { grant, source, body, params: {} }))
  },
  async retrieve({ database }, { grant, params }) {
    return ofOrganization(await existingAlert(database, grant, params))
  },
  async update(parts, call) {
    return ofOrganization(await replace(parts, call))
  },
  async delete(parts, call) {
    return { id: await remove(parts, call), object: 'organization.spend_alert.deleted', deleted: true }
  },
}

export const projectSpendAlertHandlers: Handlers<typeof projectSpendAlerts> = {
  async list(parts, call) {
    return toList(await page(parts, call), ofProject, idOf)
  },
  async create(parts, call) {
    return ofProject(await create(parts, call))
  },
  async retrieve({ database }, { grant, params }) {
    return ofProject(await existingAlert(database, grant, params))
  },
  async update(parts, call) {
    return ofProject(await replace(parts, call))
  },
  async delete(parts, call) {
    return { id: await remove(parts, call), object: 'project.spend_alert.deleted', deleted: true }
  },
}

type Params = { readonly project_id?: string }
type AlertParams = Params & { readonly alert_id: string }
type Query = Call<typeof projectSpendAlerts.list>['query']

async function page(
  { database }: PlatformParts,
  { grant, params, query }: { grant: Grant; params: Params; query: Query },
): Promise<Page<SpendAlertRow>> {
  return listSpendAlerts(database, (await readPlace(database, grant, params)).id, oneCursor(query))
}

async function existingAlert(database: Queryable, grant: Grant, params: AlertParams): Promise<SpendAlertRow> {
  const { id } = await readPlace(database, grant, params)
  const row = await findSpendAlert(database, id, params.alert_id)
  if (!row) throw noSuchAlert()
  return row
}

const create = (parts: PlatformParts, call: KeyCaller & { params: Params; body: SpendAlertBody }) =>
  change(parts, call, async tx => {
    const place = await changePlace(tx, call.grant, call.params)
    if ((await countSpendAlerts(tx, place.id)) >= alertsMax) throw tooMany()
    const row = await insertSpendAlert(tx, place.id, { id: newId('spend_alert'), ...draftOf(call.body) })
    return { answer: row, audit: [changed(place, row.id, call.body)], affects: [] }
  })

const replace = (parts: PlatformParts, call: KeyCaller & { params: AlertParams; body: SpendAlertBody }) =>
  change(parts, call, async tx => {
    const place = await changePlace(tx, call.grant, call.params)
    const { alert_id: id } = call.params
    const before = await findSpendAlert(tx, place.id, id)
    const row = await replaceSpendAlert(tx, place.id, { id, ...draftOf(call.body) })
    if (!before || !row) throw noSuchAlert()
    if (thresholdOf(before) !== thresholdOf(row)) await rearmAlert(tx, row.id)
    return { answer: row, audit: [changed(place, row.id, call.body)], affects: [] }
  })

const remove = (parts: PlatformParts, call: KeyCaller & { params: AlertParams }): Promise<string> =>
  change(parts, call, async tx => {
    const place = await changePlace(tx, call.grant, call.params)
    const { alert_id: id } = call.params
    if (!(await deleteSpendAlert(tx, place.id, id))) throw noSuchAlert()
    return { answer: id, audit: [changed(place, id, null)], affects: [] }
  })

const thresholdOf = ({ threshold_cents: cents, threshold_percent: percent }: SpendAlertRow): string =>
  cents === null ? `${percent} %` : `${cents}`

/** Null: deleted. */
const changed = (place: Place, id: string, alert: SpendAlertBody | null): AuditEntry =>
  settingChanged(place, { spend_alert: alert === null ? { id, deleted: true } : { id, ...alert } })

const draftOf = ({ notification_channel: channel, ...body }: SpendAlertBody): SpendAlertDraft => ({
  cents: body.threshold_amount ?? null,
  percent: body.threshold_percent ?? null,
  recipients: channel.recipients,
  subjectPrefix: channel.subject_prefix ?? null,
})

const noSuchAlert = (): Error => apiError('not_found', { what: 'spend alert' })

const tooMany = (): Error =>
  apiError('conflict', { message: `There are ${alertsMax} spend alerts already. Delete one that nobody needs.` })
