/** Rate limits of a project, one row a model. The row of the model `*` holds for every model without a row of its own. */
import { z } from 'zod'
import type { Endpoints } from './endpoint.ts'
import { listOf, queryInteger } from './lists.ts'

/** What the columns hold. */
const int4Max = 2_147_483_647
const tokensMax = 1_000_000_000_000

const limit = (max: number) => z.int().min(1).max(max)
const requestsPerMinute = limit(int4Max)
const tokensPerMinute = limit(tokensMax)

/** Kept and shown, never above the organization's; they bind once calls of their kind can be made. */
const rarer = {
  max_images_per_1_minute: limit(int4Max).optional(),
  max_audio_megabytes_per_1_minute: limit(int4Max).optional(),
  max_requests_per_1_day: limit(int4Max).optional(),
  batch_1_day_max_input_tokens: limit(tokensMax).optional(),
}

export const rateLimit = z
  .object({
    object: z.literal('project.rate_limit'),
    id: z.string().describe('rl-<model>'),
    model: z.string(),
    max_requests_per_1_minute: z.int(),
    max_tokens_per_1_minute: z.int(),
    ...rarer,
  })
  .meta({ id: 'ProjectRateLimit' })

const setLimits = z.strictObject({
  max_requests_per_1_minute: requestsPerMinute.optional(),
  max_tokens_per_1_minute: tokensPerMinute.optional(),
  ...rarer,
})

export type LimitDimension = keyof z.output<typeof setLimits>
export const limitDimensions: readonly LimitDimension[] = setLimits.keyof().options

const pageMax = 1_000
const pageDefault = 100
const cursor = z.string().max(256).optional()

export const rateLimits = {
  list: {
    method: 'GET',
    path: '/v1/organization/projects/{project_id}/rate_limits',
    summary: "List a project's rate limits as they apply, for each model that it can call.",
    scope: 'api.organization.projects.read',
    query: z.strictObject({
      after: cursor.describe('The id of the last item of the page before.'),
      before: cursor.describe('The id of the first item of the page behind.'),
      limit: queryInteger(1, pageMax).default(pageDefault),
    }),
    answer: listOf(rateLimit),
  },
  update: {
    method: 'POST',
    path: '/v1/organization/projects/{project_id}/rate_limits/{rate_limit_id}',
    summary: "Set a project's rate limits for a model. They cannot exceed the organization's.",
    scope: 'api.organization.projects.write',
    body: setLimits,
    answer: rateLimit,
  },
} as const satisfies Endpoints
