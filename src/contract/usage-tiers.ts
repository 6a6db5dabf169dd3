/** Usage tiers: the limits and the monthly cap of an organization by what it has paid. */
import { z } from 'zod'
import { usdText } from './amounts.ts'
import type { Endpoints } from './endpoint.ts'
import { rarerLimits } from './rate-limits.ts'

const tier = z.enum(['free', '1', '2', '3', '4', '5'])
const promotion = z.enum(['automatic', 'by_hand'])

const usageTier = z
  .object({
    object: z.literal('organization.usage_tier'),
    organization_id: z.string(),
    usage_tier: tier.nullable().describe("Null: none. The settings' limits hold, and no monthly cap."),
    promotion: promotion.describe('By hand: what is paid does not move it.'),
    monthly_cap_usd: usdText.nullable(),
    limits: z
      .array(
        z.object({
          models: z.string().describe('The first that fits a model holds; * stands for any text.'),
          max_requests_per_1_minute: z.int(),
          max_tokens_per_1_minute: z.int(),
          ...rarerLimits,
        }),
      )
      .describe('What holds where no rate limit was set for the organization.'),
    next: z
      .object({
        usage_tier: tier,
        paid_usd: usdText.describe('Paid altogether.'),
        days: z.int().describe('Since the first payment.'),
        monthly_cap_usd: usdText,
      })
      .nullable()
      .describe('What the next tier asks for.'),
  })
  .meta({ id: 'UsageTier' })

export const usageTiers = {
  retrieve: {
    method: 'GET',
    path: '/v1/organization/usage_tier',
    summary: "The organization's usage tier, its limits, and what the next one asks for.",
    scope: 'api.organization.settings.read',
    answer: usageTier,
  },
  update: {
    method: 'POST',
    path: '/v1/organization/usage_tier',
    summary: 'Put an organization into a usage tier by hand, or into none.',
    scope: 'api.organization.settings.write',
    operatorOnly: true,
    body: z.strictObject({
      organization_id: z.string().max(256).optional().describe("Left out: the operator's own."),
      usage_tier: tier.nullable(),
      promotion: promotion.default('by_hand').describe('Automatic: payments move it on from there.'),
    }),
    answer: usageTier,
  },
} as const satisfies Endpoints
