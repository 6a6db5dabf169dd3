/** Hard spend limits: set, shown and audited here; the gateways hold calls to them. */
import { apiError } from '#contract/errors.ts'
import type { organizationSpendLimit, projectSpendLimit } from '#contract/spend-limits.ts'
import type { Grant } from '#core/grant.ts'
import { deleteSpendLimit, readSpendLimit, setSpendLimit } from '#storage/spend-limits.ts'
import { change } from './change.ts'
import type { Handlers } from './handler.ts'
import type { PlatformParts } from './platform.ts'
import { changePlace, type KeyCaller, placeAffected, readPlace, settingChanged } from './setting-place.ts'

const enforcement = { status: 'enforcing' as const }

const toLimit = <const Kind extends string>(object: Kind, cents: number) => ({
  object,
  threshold_amount: cents,
  currency: 'USD' as const,
  interval: 'month' as const,
  enforcement,
})

export const organizationSpendLimitHandlers: Handlers<typeof organizationSpendLimit> = {
  async retrieve(parts, { grant }) {
    return toLimit('organization.spend_limit', await existingLimit(parts, grant, {}))
  },
  async update(parts, call) {
    return toLimit('organization.spend_limit', await set(parts, { ...call, params: {} }))
  },
  async delete(parts, call) {
    return { object: 'organization.spend_limit.deleted', deleted: await remove(parts, { ...call, params: {} }) }
  },
}

export const projectSpendLimitHandlers: Handlers<typeof projectSpendLimit> = {
  async retrieve(parts, { grant, params }) {
    return toLimit('project.spend_limit', await existingLimit(parts, grant, params))
  },
  async update(parts, call) {
    return toLimit('project.spend_limit', await set(parts, call))
  },
  async delete(parts, call) {
    return { object: 'project.spend_limit.deleted', deleted: await remove(parts, call) }
  },
}

type Params = { readonly project_id?: string }

async function existingLimit({ database }: PlatformParts, grant: Grant, params: Params): Promise<number> {
  const { id } = await readPlace(database, grant, params)
  const cents = await readSpendLimit(database, id)
  if (cents === undefined) throw apiError('not_found', { what: 'spend limit: none is set' })
  return cents
}

type SetCall = KeyCaller & { readonly params: Params; readonly body: { readonly threshold_amount: number } }

const set = (parts: PlatformParts, call: SetCall): Promise<number> =>
  change(parts, call, async tx => {
    const place = await changePlace(tx, call.grant, call.params)
    const cents = call.body.threshold_amount
    await setSpendLimit(tx, place.id, cents)
    return {
      answer: cents,
      audit: [settingChanged(place, { spend_limit: call.body })],
      affects: [placeAffected(place)],
    }
  })

const remove = (parts: PlatformParts, call: KeyCaller & { readonly params: Params }): Promise<boolean> =>
  change(parts, call, async tx => {
    const place = await changePlace(tx, call.grant, call.params)
    const deleted = await deleteSpendLimit(tx, place.id)
    return { answer: deleted, audit: [settingChanged(place, { spend_limit: null })], affects: [placeAffected(place)] }
  })
