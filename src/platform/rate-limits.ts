/** Rate limits of a project. Each model has a row, whether or not somebody has set one. */
import { apiError } from '#contract/errors.ts'
import { testModelPrefix } from '#contract/models.ts'
import { type LimitDimension, limitDimensions, type rateLimits } from '#contract/rate-limits.ts'
import type { Queryable } from '#storage/database.ts'
import { type ModelPermissionsRow, readModelPermissions } from '#storage/model-permissions.ts'
import { modelNames } from '#storage/models.ts'
import { findProject, type ProjectRow } from '#storage/projects.ts'
import { type Limits, readLimits, setLimits } from '#storage/rate-limits.ts'
import { activeProject, existing } from './active-project.ts'
import { change } from './change.ts'
import { oneCursor } from './cursors.ts'
import type { Call, Handlers } from './handler.ts'
import { toList } from './page.ts'
import type { PlatformParts } from './platform.ts'

const idPrefix = 'rl-'
const allOthers = '*'
const idOf = (model: string): string => idPrefix + model
const modelOf = (id: string): string => id.slice(idPrefix.length)

export const rateLimitHandlers: Handlers<typeof rateLimits> = {
  async list(parts, { grant, params, query }) {
    const { database } = parts
    const project = existing(await findProject(database, grant.organizationId, params.project_id))
    const permissions = await readModelPermissions(database, project.id)
    const callable = (await modelNames(database)).filter(name => canCall(permissions, name))
    const limits = await effectiveLimits(parts, database, { ...grant, project })
    return toList(pageOf([allOthers, ...callable], query), model => toRateLimit(model, limits(model)), idOf)
  },

  update(parts, call) {
    const { grant, params, body } = call
    const id = params.rate_limit_id
    return change(parts, call, async tx => {
      const project = await activeProject(tx, grant, params.project_id)
      const model = await knownModel(tx, id)
      checkBelow(body, limitsFor(await readLimits(tx, grant.organizationId), model, defaultsOf(parts)))
      await setLimits(tx, project.id, model, body)
      const limits = await effectiveLimits(parts, tx, { ...grant, project })
      return {
        answer: toRateLimit(model, limits(model)),
        audit: [{ type: 'rate_limit.updated', project, resourceId: id, detail: { changes_requested: body } }],
        affects: [['project', project.id]],
      }
    })
  },
}

const canCall = (permissions: ModelPermissionsRow | undefined, name: string): boolean =>
  permissions === undefined ||
  name.startsWith(testModelPrefix) ||
  permissions.model_ids.includes(name) === (permissions.mode === 'allow_list')

type ListQuery = Call<typeof rateLimits.list>['query']

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

async function knownModel(tx: Queryable, id: string): Promise<string> {
  const model = modelOf(id)
  const known = model === allOthers || (await modelNames(tx)).includes(model)
  if (!id.startsWith(idPrefix) || !known) throw apiError('not_found', { what: 'rate limit' })
  return model
}

const defaultsOf = ({ limitsDefault }: PlatformParts): EveryLimit => ({
  max_requests_per_1_minute: limitsDefault.requestsPerMinute,
  max_tokens_per_1_minute: limitsDefault.tokensPerMinute,
})

/** Requests and tokens a minute are always bounded. */
type EveryLimit = Limits & { max_requests_per_1_minute: number; max_tokens_per_1_minute: number }

const limitsFor = (set: ReadonlyMap<string, Limits>, model: string, defaults: EveryLimit): EveryLimit => ({
  ...defaults,
  ...withoutGaps(set.get(allOthers)),
  ...withoutGaps(set.get(model)),
})

// A row holds only what was set, so nothing in it hides what stands before it
const withoutGaps = (limits: Limits = {}): Partial<Record<LimitDimension, number>> =>
  Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined))

type Place = { readonly organizationId: Call<typeof rateLimits.list>['grant']['organizationId']; project: ProjectRow }

/** What holds for a model: of the project's limit and the organization's the lower one. */
async function effectiveLimits(parts: PlatformParts, database: Queryable, { organizationId, project }: Place) {
  const own = await readLimits(database, project.id)
  const organization = await readLimits(database, organizationId)
  const defaults = defaultsOf(parts)
  return (model: string): EveryLimit => lower(limitsFor(own, model, defaults), limitsFor(organization, model, defaults))
}

function lower(one: EveryLimit, other: EveryLimit): EveryLimit {
  const least = (a: number, b: number | undefined): number => Math.min(a, b ?? a)
  const both = limitDimensions.flatMap(dimension => {
    const value = one[dimension] ?? other[dimension]
    return value === undefined ? [] : [[dimension, least(value, other[dimension])]]
  })
  return { ...one, ...Object.fromEntries(both) }
}

/** A limit above the organization's would be a promise that the organization's limit breaks. */
function checkBelow(asked: Limits, organization: Limits): void {
  for (const param of limitDimensions) {
    const [value, most] = [asked[param], organization[param]]
    if (value === undefined || most === undefined || value <= most) continue
    const message = `Invalid '${param}': ${value} is more than the organization's limit of ${most}.`
    throw apiError('invalid_parameter', { param, message, code: 'invalid_value' })
  }
}

const toRateLimit = (model: string, limits: EveryLimit) => ({
  object: 'project.rate_limit' as const,
  id: idOf(model),
  model,
  ...limits,
})
