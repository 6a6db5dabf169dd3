/** Rate limits of organizations, projects and keys. Each model has a row, whether or not somebody has set one. */
import { apiError } from '#contract/errors.ts'
import { testModelPrefix } from '#contract/models.ts'
import type { keyRateLimits, organizationRateLimits, rateLimits } from '#contract/rate-limits.ts'
import {
  dimensionNames,
  dimensions,
  type Limits,
  limitsNamed,
  type NamedLimits,
  namedLimits,
} from '#core/limit-dimensions.ts'
import type { Queryable } from '#storage/database.ts'
import { type ModelPermissionsRow, readModelPermissions } from '#storage/model-permissions.ts'
import { modelNames } from '#storage/models.ts'
import { deleteLimits, setLimits } from '#storage/rate-limits.ts'
import { type Caller, type Change, change } from './change.ts'
import { oneCursor } from './cursors.ts'
import { noSuchModel } from './existing-model.ts'
import type { Call, Handlers } from './handler.ts'
import {
  changedKeyPlace,
  changedProjectPlace,
  keyPlace,
  type LimitPlace,
  organizationPlace,
  projectPlace,
} from './limit-place.ts'
import { toList } from './page.ts'
import type { PlatformParts } from './platform.ts'

const idPrefix = 'rl-'
const allOthers = '*'
const idOf = (model: string): string => idPrefix + model
const modelOf = (id: string): string => id.slice(idPrefix.length)

const objects = {
  organization: 'organization.rate_limit',
  project: 'project.rate_limit',
  key: 'organization.project.api_key.rate_limit',
} as const
type Level = LimitPlace['level']

export const rateLimitHandlers: Handlers<typeof rateLimits> = {
  list: async (parts, call) => list(parts, 'project', await projectPlace(parts, call), call.query),
  update: (parts, call) => update(parts, 'project', call, read => changedProjectPlace(read, call)),
  delete: (parts, call) => remove(parts, 'project', call, read => changedProjectPlace(read, call)),
}

export const organizationRateLimitHandlers: Handlers<typeof organizationRateLimits> = {
  async list(parts, { grant, query: { organization_id, ...query } }) {
    return list(parts, 'organization', await organizationPlace(parts, grant, organization_id), query)
  },
  update: (parts, call) =>
    update(parts, 'organization', call, read => organizationPlace(read, call.grant, call.query.organization_id)),
  delete: (parts, call) =>
    remove(parts, 'organization', call, read => organizationPlace(read, call.grant, call.query.organization_id)),
}

export const keyRateLimitHandlers: Handlers<typeof keyRateLimits> = {
  list: async (parts, call) => list(parts, 'key', await keyPlace(parts, call), call.query),
  update: (parts, call) => update(parts, 'key', call, read => changedKeyPlace(read, call)),
  delete: (parts, call) => remove(parts, 'key', call, read => changedKeyPlace(read, call)),
}

type ListQuery = Call<typeof rateLimits.list>['query']

async function list<const Of extends Level>(parts: PlatformParts, level: Of, place: LimitPlace, query: ListQuery) {
  const names = await modelNames(parts.database)
  const permissions = place.project ? await readModelPermissions(parts.database, place.project.id) : undefined
  const callable = names.filter(name => canCall(permissions, name))
  return toList(pageOf([allOthers, ...callable], query), model => toRateLimit(level, place, model), idOf)
}

const canCall = (permissions: ModelPermissionsRow | undefined, name: string): boolean =>
  permissions === undefined ||
  name.startsWith(testModelPrefix) ||
  permissions.model_ids.includes(name) === (permissions.mode === 'allow_list')

/** A cursor that is not in the list leads nowhere. */
function pageOf(names: readonly string[], query: ListQuery): { rows: string[]; hasMore: boolean } {
  const { limit, after, before } = oneCursor(query)
  if (before !== undefined) {
    const rest = names.slice(0, Math.max(0, names.indexOf(modelOf(before))))
    return { rows: rest.slice(-limit), hasMore: rest.length > limit }
  }
  const from = after === undefined ? 0 : names.indexOf(modelOf(after)) + 1
  const rest = after !== undefined && from === 0 ? [] : names.slice(from)
  return { rows: rest.slice(0, limit), hasMore: rest.length > limit }
}

type SetCall = Caller & { readonly params: { readonly rate_limit_id: string }; readonly body: NamedLimits }
type FindPlace = (read: { database: Queryable; limitsDefault: PlatformParts['limitsDefault'] }) => Promise<LimitPlace>

function update<const Of extends Level>(parts: PlatformParts, level: Of, call: SetCall, find: FindPlace) {
  const id = call.params.rate_limit_id
  return change(parts, call, async tx => {
    const read = { database: tx, limitsDefault: parts.limitsDefault }
    const place = await find(read)
    const model = await knownModel(tx, id)
    const limits = limitsNamed(call.body)
    checkBelow(limits, place, model)
    await setLimits(tx, place, model, limits)
    const answer = toRateLimit(level, await find(read), model)
    return changed('rate_limit.updated', place, id, { changes_requested: call.body }, answer)
  })
}

type RemoveCall = Omit<SetCall, 'body'>

function remove<const Of extends Level>(parts: PlatformParts, level: Of, call: RemoveCall, find: FindPlace) {
  const id = call.params.rate_limit_id
  return change(parts, call, async tx => {
    const place = await find({ database: tx, limitsDefault: parts.limitsDefault })
    // Not looked up: the limits of a model that is gone can be removed as well
    if (!id.startsWith(idPrefix)) throw noSuchLimit()
    const deleted = await deleteLimits(tx, place.scope, modelOf(id))
    return changed('rate_limit.deleted', place, id, {}, { object: `${objects[level]}.deleted` as const, id, deleted })
  })
}

/** The entry names the organization or the key where the id, which is the model's, does not say enough. */
function changed<Answer>(
  type: 'rate_limit.updated' | 'rate_limit.deleted',
  { level, scope, project, affects }: LimitPlace,
  resourceId: string,
  detail: Readonly<Record<string, unknown>>,
  answer: Answer,
): Change<Answer> {
  const of = level === 'project' ? {} : { [`${level}_id`]: scope }
  return { answer, audit: [{ type, project, resourceId, detail: { ...of, ...detail } }], affects: [affects] }
}

async function knownModel(tx: Queryable, id: string): Promise<string> {
  if (!id.startsWith(idPrefix)) throw noSuchLimit()
  const model = modelOf(id)
  if (model !== allOthers && !(await modelNames(tx)).includes(model)) throw noSuchModel(model)
  return model
}

const noSuchLimit = (): Error => apiError('not_found', { what: 'rate limit' })

const above = { organization: 'organization', project: 'organization', key: 'project' } as const

/** A limit above the one that it lies inside would be a promise that the other breaks. */
function checkBelow(asked: Limits, { level, ceiling }: LimitPlace, model: string): void {
  const most: Limits = ceiling(model) ?? {}
  for (const name of dimensionNames) {
    const [value, bound] = [asked[name], most[name]]
    if (value === undefined || bound === undefined || value <= bound) continue
    const param = dimensions[name].member
    const advice = level === 'organization' ? ' Only the operator can raise it.' : ''
    const message = `Invalid '${param}': ${value} is more than the ${above[level]}'s limit of ${bound}.${advice}`
    throw apiError('invalid_parameter', { param, message, code: 'invalid_value' })
  }
}

const toRateLimit = <const Of extends Level>(level: Of, place: LimitPlace, model: string) => ({
  object: objects[level],
  id: idOf(model),
  model,
  ...namedLimits(place.holds(model)),
})
