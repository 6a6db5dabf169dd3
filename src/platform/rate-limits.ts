/** Rate limits of a project. Each model has a row, whether or not somebody has set one. */
import { apiError } from '#contract/errors.ts'
import type { rateLimits } from '#contract/rate-limits.ts'
import { limitsFor, type ScopeLimits } from '#core/grant.ts'
import { recordAuthEvent } from '#storage/auth-events.ts'
import type { Queryable } from '#storage/database.ts'
import { modelNames } from '#storage/models.ts'
import { findProject, lockProject } from '#storage/projects.ts'
import { readLimits, setLimits } from '#storage/rate-limits.ts'
import type { Handlers } from './handler.ts'
import { toList } from './page.ts'
import { existing } from './projects.ts'

const idPrefix = 'rl-'
const allOthers = '*'
const idOf = (model: string): string => idPrefix + model

export const rateLimitHandlers: Handlers<typeof rateLimits> = {
  async list({ database, limitsDefault }, { grant, params, query: { after, limit } }) {
    const project = existing(await findProject(database, grant.organizationId, params.project_id))
    const limits = await readLimits(database, project.id)
    const names = [allOthers, ...(await modelNames(database))]
    const rest = after === undefined ? names : names.slice(names.indexOf(after.slice(idPrefix.length)) + 1)
    const page = { rows: rest.slice(0, limit), hasMore: rest.length > limit }
    return toList(page, model => toRateLimit(model, limitsFor(limits, model, limitsDefault)), idOf)
  },

  async update({ database, limitsDefault }, { grant, params, body }) {
    const model = params.rate_limit_id.slice(idPrefix.length)
    const asked = {
      ...(body.max_requests_per_1_minute !== undefined && { requestsPerMinute: body.max_requests_per_1_minute }),
      ...(body.max_tokens_per_1_minute !== undefined && { tokensPerMinute: body.max_tokens_per_1_minute }),
    }
    return database.transaction(async tx => {
      const project = existing(await lockProject(tx, grant.organizationId, params.project_id))
      await checkModel(tx, params.rate_limit_id, model)
      checkBelow(asked, limitsFor(await readLimits(tx, grant.organizationId), model, limitsDefault))
      await setLimits(tx, project.id, model, asked)
      const limits = limitsFor(await readLimits(tx, project.id), model, limitsDefault)
      await recordAuthEvent(tx, 'project', project.id)
      return toRateLimit(model, limits)
    })
  },
}

async function checkModel(tx: Queryable, id: string, model: string): Promise<void> {
  const known = model === allOthers || (await modelNames(tx)).includes(model)
  if (!id.startsWith(idPrefix) || !known) throw apiError('not_found', { what: 'rate limit' })
}

/** A limit above the organization's would be a promise that the organization's limit breaks. */
function checkBelow(asked: Partial<ScopeLimits>, organization: ScopeLimits): void {
  const rows = [
    ['max_requests_per_1_minute', asked.requestsPerMinute, organization.requestsPerMinute],
    ['max_tokens_per_1_minute', asked.tokensPerMinute, organization.tokensPerMinute],
  ] as const
  for (const [param, value, most] of rows) {
    if (value === undefined || value <= most) continue
    const message = `Invalid '${param}': ${value} is more than the organization's limit of ${most}.`
    throw apiError('invalid_parameter', { param, message, code: 'invalid_value' })
  }
}

const toRateLimit = (model: string, { requestsPerMinute, tokensPerMinute }: ScopeLimits) => ({
  object: 'project.rate_limit' as const,
  id: idOf(model),
  model,
  max_requests_per_1_minute: requestsPerMinute,
  max_tokens_per_1_minute: tokensPerMinute,
})
