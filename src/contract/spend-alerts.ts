/** Spend alerts: an e-mail when an organization, or a project, has spent so much in a calendar month (UTC). */
import { z } from 'zod'
import type { Endpoints } from './endpoint.ts'
import { deleted, listOf, listQuery } from './lists.ts'
import { centsMax, monthlyUsd } from './spend-limits.ts'

const recipientsMax = 50
const prefixMax = 200

const body = z.strictObject({
  threshold_amount: z.int().min(0).max(centsMax).describe('In cents.'),
  ...monthlyUsd,
  notification_channel: z.strictObject({
    type: z.literal('email'),
    recipients: z.array(z.email().max(320)).min(1).max(recipientsMax),
    subject_prefix: z
      .string()
      .max(prefixMax)
      .regex(/^\P{Cc}*$/u, 'expected one line of text')
      .nullish(),
  }),
})
export type SpendAlertBody = z.output<typeof body>

const alertOf = <const Kind extends string>(object: Kind) =>
  z.object({
    id: z.string(),
    object: z.literal(object),
    threshold_amount: z.int().describe('In cents.'),
    ...monthlyUsd,
    notification_channel: z.object({
      type: z.literal('email'),
      recipients: z.array(z.string()),
      subject_prefix: z.string().nullable(),
    }),
  })

const query = listQuery.extend({
  before: z.string().max(256).optional().describe('The id of the first item of the page behind.'),
})

const organizationPath = '/v1/organization/spend_alerts'
const organizationAlert = alertOf('organization.spend_alert').meta({ id: 'OrganizationSpendAlert' })

export const organizationSpendAlerts = {
  list: {
    method: 'GET',
    path: organizationPath,
    summary: "List the organization's spend alerts.",
    scope: 'api.organization.spend.read',
    query,
    answer: listOf(organizationAlert),
  },
  create: {
    method: 'POST',
    path: organizationPath,
    summary: 'Create a spend alert for the organization.',
    scope: 'api.organization.spend.write',
    body,
    answer: organizationAlert,
  },
  retrieve: {
    method: 'GET',
    path: `${organizationPath}/{alert_id}`,
    summary: 'Retrieve a spend alert of the organization.',
    scope: 'api.organization.spend.read',
    answer: organizationAlert,
  },
  update: {
    method: 'POST',
    path: `${organizationPath}/{alert_id}`,
    summary: 'Replace a spend alert of the organization.',
    scope: 'api.organization.spend.write',
    body,
    answer: organizationAlert,
  },
  delete: {
    method: 'DELETE',
    path: `${organizationPath}/{alert_id}`,
    summary: 'Delete a spend alert of the organization.',
    scope: 'api.organization.spend.write',
    answer: deleted('organization.spend_alert.deleted'),
  },
} as const satisfies Endpoints

const projectPath = '/v1/organization/projects/{project_id}/spend_alerts'
const projectAlert = alertOf('project.spend_alert').meta({ id: 'ProjectSpendAlert' })

export const projectSpendAlerts = {
  list: {
    method: 'GET',
    path: projectPath,
    summary: "List a project's spend alerts.",
    scope: 'api.organization.spend.read',
    query,
    answer: listOf(projectAlert),
  },
  create: {
    method: 'POST',
    path: projectPath,
    summary: 'Create a spend alert for a project.',
    scope: 'api.organization.spend.write',
    body,
    answer: projectAlert,
  },
  retrieve: {
    method: 'GET',
    path: `${projectPath}/{alert_id}`,
    summary: 'Retrieve a spend alert of a project.',
    scope: 'api.organization.spend.read',
    answer: projectAlert,
  },
  update: {
    method: 'POST',
    path: `${projectPath}/{alert_id}`,
    summary: 'Replace a spend alert of a project.',
    scope: 'api.organization.spend.write',
    body,
    answer: projectAlert,
  },
  delete: {
    method: 'DELETE',
    path: `${projectPath}/{alert_id}`,
    summary: 'Delete a spend alert of a project.',
    scope: 'api.organization.spend.write',
    answer: deleted('project.spend_alert.deleted'),
  },
} as const satisfies Endpoints
