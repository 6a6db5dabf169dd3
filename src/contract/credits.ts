/** Prepaid credit. Every grant is one transaction of the ledger. */
import { z } from 'zod'
import { usdInput, usdText } from './amounts.ts'
import { type Endpoints, unixTime } from './endpoint.ts'

export const creditBalance = z
  .object({
    object: z.literal('organization.credit_balance'),
    available_usd: usdText,
    reserved_usd: usdText.describe('Leased by nodes for calls: spent from there, or handed back.'),
    currency: z.literal('usd'),
  })
  .meta({ id: 'CreditBalance' })

export const creditGrant = z
  .object({
    object: z.literal('organization.credit_grant'),
    id: z.string(),
    amount_usd: usdText,
    created_at: unixTime,
  })
  .meta({ id: 'CreditGrant' })

export const credits = {
  balance: {
    method: 'GET',
    path: '/v1/organization/credit_balance',
    summary: 'The credit that the organization has left.',
    scope: 'api.credits.read',
    answer: creditBalance,
  },
  grant: {
    method: 'POST',
    path: '/v1/organization/credit_grants',
    summary: 'Add credit. The same reference again is refused, so a repeated request grants once.',
    scope: 'api.credits.write',
    operatorOnly: true,
    body: z.strictObject({
      amount_usd: usdInput,
      reference: z.string().min(1).max(200).optional(),
      note: z.string().max(1_000).optional(),
    }),
    answer: creditGrant,
  },
} as const satisfies Endpoints
