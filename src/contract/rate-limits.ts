/** Rate limits of a project, one row a model. The row of the model `*` holds for every model without a row of its own. */
import { z } from 'zod'
import type { Endpoints } from './endpoint.ts'
import { listOf, queryInteger } from './lists.ts'

export const rateLimit = z
  .object({
    object: z.literal('project.rate_limit'),
    id: z.string().describe('rl-<model>'),
    model: z.string(),
    max_requests_per_1_minute: z.int(),
    max_tokens_per_1_minute: z.int(),
  })
  .meta({ id: 'ProjectRateLimit' })

/** What the columns hold. */
const requestsMax = 2_147_483_647
const tokensMax = 1_000_000_000_000
const pageMax = 1_000
const pageDefault = 100

export const rateLimits = {
  list: {
    method: 'GET',
    path: '/v1/organization/projects/{project_id}/rate_limits',
    summary: "List a project's rate limits as they apply, model by model.",
    scope: 'api.organization.projects.read',
    query: z.strictObject({
      after: z.string().max(256).optional(),
      limit: queryInteger(1, pageMax).default(pageDefault),
    }),
    answer: listOf(rateLimit),
  },
  update: {
    method: 'POST',
    path: '/v1/organization/projects/{project_id}/rate_limits/{rate_limit_id}',
    summary: "Set a project's rate limits for a model. They cannot exceed the organization's.",
    scope: 'api.organization.projects.write',
    body: z.strictObject({
      max_requests_per_1_minute: z.int().min(1).max(requestsMax).optional(),
      max_tokens_per_1_minute: z.int().min(1).max(tokensMax).optional(),
    }),
    answer: rateLimit,
  },
} as const satisfies Endpoints
