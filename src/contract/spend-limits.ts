/** Hard spend limits: the most that an organization, or a project, may spend in a calendar month (UTC). */
import { z } from 'zod'
import type { Endpoints } from './endpoint.ts'

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
      .object({ status: z.enum(['inactive', 'enforcing']) })
      .describe('Whether calls are held to the limit now. Inactive: it is kept and shown, and refuses nothing yet.'),
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
