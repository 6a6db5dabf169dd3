/** Spend alerts: an e-mail when an organization, or a project, has spent so much in a calendar month (UTC). */
import { z } from 'zod'
import { type Endpoints, unixTime } from './endpoint.ts'
import { cursor, deleted, listOf, listQuery } from './lists.ts'
import { centsMax, monthlyUsd } from './spend-limits.ts'

const recipientsMax = 50
const prefixMax = 200

const percentMax = 1_000

const draft = z.strictObject({
  threshold_amount: z.int().min(0).max(centsMax).optional().describe('In cents.'),
  threshold_percent: z
    .int()
    .min(1)
    .max(percentMax)
    .optional()
    .describe('Ours, instead of threshold_amount: of the spend limit of the organization or project.'),
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

/** One of the two. Which is missing or too many is told as zod tells of any other member. */
const body = draft.superRefine((alert, context) => {
  const { threshold_amount: amount, threshold_percent: percent } = alert
  if (amount === undefined && percent === undefined) {
    context.addIssue({ code: 'invalid_type', expected: 'int', path: ['threshold_amount'], input: undefined })
  }
  if (amount !== undefined && percent !== undefined) {
    const message = 'expected either threshold_amount or threshold_percent, not both'
    context.addIssue({ code: 'custom', path: ['threshold_percent'], message, input: percent })
  }
})
export type SpendAlertBody = z.output<typeof body>

const alertOf = <const Kind extends string>(object: Kind) =>
  z.object({
    id: z.string(),
    object: z.literal(object),
    threshold_amount: z.int().nullable().describe('In cents. Null where it is a share of the spend limit.'),
    threshold_percent: z.int().optional().describe('Ours: of the spend limit.'),
    ...monthlyUsd,
    last_fired_at: unixTime.nullable().describe('Ours: when it was last told of.'),
    notification_channel: z.object({
      type: z.literal('email'),
      recipients: z.array(z.string()),
      subject_prefix: z.string().nullable(),
    }),
  })

const query = listQuery.extend({
  before: cursor.describe('The id of the first item of the page behind.'),
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
