/** Prepaid credit. It comes in grants, which can end; every movement is one transaction of the ledger. */
import { z } from 'zod'
import { usdInput, usdText } from './amounts.ts'
import { type Endpoints, emptyBody, unixTime } from './endpoint.ts'
import { listOf, listQuery } from './lists.ts'

const kind = z.enum(['purchased', 'promotional', 'free'])
const status = z.enum(['active', 'spent', 'expired', 'revoked'])

export const creditBalance = z
  .object({
    object: z.literal('organization.credit_balance'),
    available_usd: usdText,
    reserved_usd: usdText.describe('Leased by nodes for calls: spent from there, or handed back.'),
    by_kind: z
      .object({ purchased_usd: usdText, promotional_usd: usdText, free_usd: usdText })
      .describe('What remains of the grants, reserved or not.'),
    next_expiry: z
      .object({ amount_usd: usdText, expires_at: unixTime })
      .nullable()
      .describe('What ends next, unless it is spent before. Null: nothing ends.'),
    currency: z.literal('usd'),
  })
  .meta({ id: 'CreditBalance' })

export const creditGrant = z
  .object({
    object: z.literal('organization.credit_grant'),
    id: z.string(),
    organization_id: z.string(),
    kind,
    status,
    amount_usd: usdText,
    remaining_usd: usdText.describe('Neither spent nor ended; nodes may have leased some of it.'),
    spent_usd: usdText,
    ended_usd: usdText.describe('What its end took, or who revoked it.'),
    priority: z.int().describe('What ends soonest is spent first; of what ends together, the lower one.'),
    expires_at: unixTime.nullable(),
    revoked_at: unixTime.nullable(),
    reference: z.string(),
    note: z.string().nullable(),
    created_at: unixTime,
  })
  .meta({ id: 'CreditGrant' })

const path = '/v1/organization/credit_grants'
const secondsMax = 10 * 365 * 86_400
const priorityMax = 1_000
const ofOrganization = z.string().max(256).optional().describe("The operator's organization may name any other one.")

export const credits = {
  balance: {
    method: 'GET',
    path: '/v1/organization/credit_balance',
    summary: 'The credit that the organization has left.',
    scope: 'api.credits.read',
    answer: creditBalance,
  },
  list: {
    method: 'GET',
    path,
    summary: "List the organization's credit grants, and what remains of each.",
    scope: 'api.credits.read',
    query: listQuery.extend({ status: status.optional(), organization_id: ofOrganization }),
    answer: listOf(creditGrant),
  },
  grant: {
    method: 'POST',
    path,
    summary: 'Add credit. The same reference again is refused, so a repeated request grants once.',
    scope: 'api.credits.write',
    operatorOnly: true,
    body: z.strictObject({
      amount_usd: usdInput,
      kind: kind.default('purchased'),
      expires_at: unixTime.optional().describe('From this second on it cannot be spent. Left out: it does not end.'),
      expires_in_seconds: z.int().min(1).max(secondsMax).optional().describe('Instead of expires_at.'),
      priority: z
        .int()
        .min(0)
        .max(priorityMax)
        .optional()
        .describe('Left out: 10 of free, 20 of promotional, 30 of purchased credit.'),
      reference: z.string().min(1).max(200).optional(),
      note: z.string().max(1_000).optional(),
      organization_id: z.string().max(256).optional().describe("Left out: the operator's own."),
    }),
    answer: creditGrant,
  },
  retrieve: {
    method: 'GET',
    path: `${path}/{credit_grant_id}`,
    summary: 'Retrieve a credit grant.',
    scope: 'api.credits.read',
    answer: creditGrant,
  },
  revoke: {
    method: 'POST',
    path: `${path}/{credit_grant_id}/revoke`,
    summary:
      'End a credit grant, and take back what is not spent of it. What calls in flight hold is taken when they have ended.',
    scope: 'api.credits.write',
    operatorOnly: true,
    body: emptyBody,
    answer: creditGrant,
  },
} as const satisfies Endpoints
