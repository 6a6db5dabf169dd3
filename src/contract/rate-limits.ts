/**
 * Rate limits of a project, of the organization and of a key: one row a model each. The row of the model `*` holds for every
 * model without a row of its own. The three lie inside one another: a call must fit into all that hold for it.
 */
import { z } from 'zod'
import type { Endpoints } from './endpoint.ts'
import { cursor, listOf, queryInteger } from './lists.ts'

/** What the columns hold. */
const int4Max = 2_147_483_647
const tokensMax = 1_000_000_000_000

const limit = (max: number) => z.int().min(1).max(max)
const requestsPerMinute = limit(int4Max)
const tokensPerMinute = limit(tokensMax)
const notYet = 'Kept and shown, and counted once there is an endpoint for it: there is none yet.'

/** Only there where they are limited. The ones a day and the concurrent requests bind like those a minute. */
export const rarerLimits = {
  max_requests_per_1_day: limit(int4Max).optional(),
  max_tokens_per_1_day: limit(tokensMax).optional().describe("Not in OpenAI's API."),
  max_concurrent_requests: limit(int4Max).optional().describe("Not in OpenAI's API."),
  max_images_per_1_minute: limit(int4Max).optional().describe(notYet),
  max_audio_megabytes_per_1_minute: limit(int4Max).optional().describe(notYet),
  batch_1_day_max_input_tokens: limit(tokensMax).optional().describe(notYet),
}

const limitOf = <const Kind extends string>(object: Kind) =>
  z.object({
    object: z.literal(object),
    id: z.string().describe('rl-<model>'),
    model: z.string(),
    max_requests_per_1_minute: z.int(),
    max_tokens_per_1_minute: z.int(),
    ...rarerLimits,
  })

export const rateLimit = limitOf('project.rate_limit').meta({ id: 'ProjectRateLimit' })
export const organizationRateLimit = limitOf('organization.rate_limit').meta({ id: 'OrganizationRateLimit' })
export const keyRateLimit = limitOf('organization.project.api_key.rate_limit').meta({ id: 'ProjectApiKeyRateLimit' })

const setLimits = z.strictObject({
  max_requests_per_1_minute: requestsPerMinute.optional(),
  max_tokens_per_1_minute: tokensPerMinute.optional(),
  ...rarerLimits,
})

export type LimitDimension = keyof z.output<typeof setLimits>

const pageMax = 1_000
const pageDefault = 100
const listQuery = z.strictObject({
  after: cursor.describe('The id of the last item of the page before.'),
  before: cursor.describe('The id of the first item of the page behind.'),
  limit: queryInteger(1, pageMax).default(pageDefault),
})

const deletedOf = <const Kind extends string>(object: Kind) =>
  z.object({ object: z.literal(object), id: z.string(), deleted: z.boolean() })

export const rateLimits = {
  list: {
    method: 'GET',
    path: '/v1/organization/projects/{project_id}/rate_limits',
    summary: "List a project's rate limits as they apply, for each model that it can call.",
    scope: 'api.organization.projects.read',
    query: listQuery,
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
  delete: {
    method: 'DELETE',
    path: '/v1/organization/projects/{project_id}/rate_limits/{rate_limit_id}',
    summary: "Remove what was set for a project and a model: then only the organization's limits hold.",
    scope: 'api.organization.projects.write',
    answer: deletedOf('project.rate_limit.deleted'),
  },
} as const satisfies Endpoints

const ofOrganization = z.strictObject({
  organization_id: z.string().max(256).optional().describe("The operator's organization may name any other one."),
})

export const organizationRateLimits = {
  list: {
    method: 'GET',
    path: '/v1/organization/rate_limits',
    summary: "List the organization's rate limits as they apply, for each model.",
    scope: 'api.organization.settings.read',
    query: listQuery.extend(ofOrganization.shape),
    answer: listOf(organizationRateLimit),
  },
  update: {
    method: 'POST',
    path: '/v1/organization/rate_limits/{rate_limit_id}',
    summary: "Lower the organization's rate limits for a model; the operator may also raise them.",
    scope: 'api.organization.settings.write',
    query: ofOrganization,
    body: setLimits,
    answer: organizationRateLimit,
  },
  delete: {
    method: 'DELETE',
    path: '/v1/organization/rate_limits/{rate_limit_id}',
    summary: 'Remove what was set for an organization and a model: then its usage tier decides, or the settings.',
    scope: 'api.organization.settings.write',
    operatorOnly: true,
    query: ofOrganization,
    answer: deletedOf('organization.rate_limit.deleted'),
  },
} as const satisfies Endpoints

const keyPath = '/v1/organization/projects/{project_id}/api_keys/{key_id}/rate_limits'

export const keyRateLimits = {
  list: {
    method: 'GET',
    path: keyPath,
    summary: "List a key's rate limits as they apply, for each model that its project can call.",
    scope: 'api.organization.projects.api_keys.read',
    query: listQuery,
    answer: listOf(keyRateLimit),
  },
  update: {
    method: 'POST',
    path: `${keyPath}/{rate_limit_id}`,
    summary:
      "Set a key's own rate limits for a model; keys that replace it share them. They cannot exceed the project's.",
    scope: 'api.organization.projects.api_keys.write',
    body: setLimits,
    answer: keyRateLimit,
  },
  delete: {
    method: 'DELETE',
    path: `${keyPath}/{rate_limit_id}`,
    summary: "Remove what was set for a key and a model: then only its project's limits hold.",
    scope: 'api.organization.projects.api_keys.write',
    answer: deletedOf('organization.project.api_key.rate_limit.deleted'),
  },
} as const satisfies Endpoints
