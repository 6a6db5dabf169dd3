/** Hard spend limits: the most that an organization, or a project, may spend in a calendar month (UTC). */
import { z } from 'zod'
import { usdText } from './amounts.ts'
import { type Endpoints, unixTime } from './endpoint.ts'

/** Of ten million dollars a month nobody needs a limit. */
export const centsMax = 1_000_000_000

/** The one unit that spend is limited and watched in. */
export const monthlyUsd = { currency: z.literal('USD'), interval: z.literal('month') }

const body = z.strictObject({ threshold_amount: z.int().min(1).max(centsMax).describe('In cents.'), ...monthlyUsd })

const limitOf = <const Kind extends string>(object: Kind) =>
  z.object({
    object: z.literal(object),
    threshold_amount: z.int().describe('In cents.'),
    ...monthlyUsd,
    enforcement: z
      .object({ status: z.literal('enforcing') })
      .describe('Calls are held to the limit: no call begins whose most possible cost it does not cover.'),
  })

const deletedOf = <const Kind extends string>(object: Kind) =>
  z.object({ object: z.literal(object), deleted: z.boolean() })

const organizationPath = '/v1/organization/spend_limit'
const organizationLimit = limitOf('organization.spend_limit').meta({ id: 'OrganizationSpendLimit' })

export const organizationSpendLimit = {
  retrieve: {
    method: 'GET',
    path: organizationPath,
    summary: "Retrieve the organization's hard spend limit; 404 when it has none.",
    scope: 'api.organization.spend.read',
    answer: organizationLimit,
  },
  update: {
    method: 'POST',
    path: organizationPath,
    summary: "Set the organization's hard spend limit.",
    scope: 'api.organization.spend.write',
    body,
    answer: organizationLimit,
  },
  delete: {
    method: 'DELETE',
    path: organizationPath,
    summary: "Remove the organization's hard spend limit.",
    scope: 'api.organization.spend.write',
    answer: deletedOf('organization.spend_limit.deleted'),
  },
} as const satisfies Endpoints

const projectPath = '/v1/organization/projects/{project_id}/spend_limit'
const projectLimit = limitOf('project.spend_limit').meta({ id: 'ProjectSpendLimit' })

export const projectSpendLimit = {
  retrieve: {
    method: 'GET',
    path: projectPath,
    summary: "Retrieve a project's hard spend limit; 404 when it has none.",
    scope: 'api.organization.spend.read',
    answer: projectLimit,
  },
  update: {
    method: 'POST',
    path: projectPath,
    summary: "Set a project's hard spend limit.",
    scope: 'api.organization.spend.write',
    body,
    answer: projectLimit,
  },
  delete: {
    method: 'DELETE',
    path: projectPath,
    summary: "Remove a project's hard spend limit.",
    scope: 'api.organization.spend.write',
    answer: deletedOf('project.spend_limit.deleted'),
  },
} as const satisfies Endpoints

/** What an account with a limit has spent, wherever one is shown. */
export const spending = {
  spent_usd: usdText.describe('Of calls that have ended.'),
  reserved_usd: usdText.describe('Leased by nodes for calls: spent from there, or handed back.'),
}

const spendOf = <const Kind extends string, Shape extends z.ZodRawShape>(object: Kind, more: Shape) =>
  z.object({
    object: z.literal(object),
    interval: z.literal('month'),
    starts_at: unixTime,
    resets_at: unixTime,
    limit_usd: usdText.nullable().describe('The spend limit. Null: none is set.'),
    ...more,
    ...spending,
    remaining_usd: usdText.nullable().describe('What the limits leave; nothing where more is spent. Null: no limit.'),
  })

const organizationSpendAnswer = spendOf('organization.spend', {
  usage_tier_cap_usd: usdText.nullable().describe("The usage tier's monthly cap. Null: none."),
}).meta({ id: 'OrganizationSpend' })
const projectSpendAnswer = spendOf('project.spend', {}).meta({ id: 'ProjectSpend' })

export const spend = {
  retrieve: {
    method: 'GET',
    path: '/v1/organization/spend',
    summary: 'What the organization has spent this month (UTC), and what its limits leave.',
    scope: 'api.organization.spend.read',
    answer: organizationSpendAnswer,
  },
  retrieveForProject: {
    method: 'GET',
    path: '/v1/organization/projects/{project_id}/spend',
    summary: 'What a project has spent this month (UTC), and what its limit leaves.',
    scope: 'api.organization.spend.read',
    answer: projectSpendAnswer,
  },
} as const satisfies Endpoints
