/** Budgets of keys: the most that a key may spend in a period, or in all. Keys that replace one another share one. */
import { z } from 'zod'
import { usdInput, usdText } from './amounts.ts'
import { type Endpoints, unixTime } from './endpoint.ts'
import { spending } from './spend-limits.ts'

export const budgetPeriod = z
  .enum(['day', 'week', 'month', 'total'])
  .describe('From midnight UTC, weeks from Monday. Total: once and for all.')

/** As it is set, on a key or with it. */
export const budgetInput = z.strictObject({ limit_usd: usdInput, period: budgetPeriod })

const budget = z
  .object({
    object: z.literal('organization.project.api_key.budget'),
    key_id: z.string(),
    shared_from: z.string().describe('The first of the keys that replaced one another: all of them spend this budget.'),
    limit_usd: usdText,
    period: budgetPeriod,
    ...spending,
    remaining_usd: usdText.describe('What the limit leaves; nothing where more is spent.'),
    starts_at: unixTime.nullable().describe('Null: total.'),
    resets_at: unixTime.nullable().describe('When what was spent counts anew. Null: never.'),
  })
  .meta({ id: 'ProjectApiKeyBudget' })

const path = '/v1/organization/projects/{project_id}/api_keys/{key_id}/budget'

export const keyBudgets = {
  retrieve: {
    method: 'GET',
    path,
    summary: 'Retrieve the budget of an API key; 404 when it has none.',
    scope: 'api.organization.projects.api_keys.read',
    answer: budget,
  },
  update: {
    method: 'POST',
    path,
    summary: 'Set the budget of an API key. What it has spent in the period stands.',
    scope: 'api.organization.projects.api_keys.write',
    body: budgetInput,
    answer: budget,
  },
  delete: {
    method: 'DELETE',
    path,
    summary: 'Remove the budget of an API key.',
    scope: 'api.organization.projects.api_keys.write',
    answer: z.object({
      object: z.literal('organization.project.api_key.budget.deleted'),
      key_id: z.string(),
      deleted: z.boolean(),
    }),
  },
} as const satisfies Endpoints
