/** Every stored charge, computed again from the usage and the price row that its record names. */
import { z } from 'zod'
import { usdText } from './amounts.ts'
import { type Endpoints, unixTime } from './endpoint.ts'
import { queryInteger } from './lists.ts'

const unixTimeMax = 253_402_300_799
const usageId = z.uuid()

const difference = z.object({
  id: z.string(),
  occurred_at: z.string(),
  model: z.string(),
  price_id: z.string().nullable(),
  charged_usd: usdText.describe('Charged and overrun together.'),
  recomputed_usd: usdText.nullable().describe('Null: the price row that the record names is not there.'),
})

export const usageRecompute = {
  retrieve: {
    method: 'GET',
    path: '/v1/platform/usage_recompute',
    summary: 'Compute stored charges again, a stretch at a time: `next` is what `after` takes until it is null.',
    scope: 'api.platform.read',
    operatorOnly: true,
    query: z.strictObject({
      start_time: queryInteger(0, unixTimeMax).default(0).describe('Inclusive, Unix seconds.'),
      end_time: queryInteger(0, unixTimeMax).default(unixTimeMax).describe('Exclusive, Unix seconds.'),
      after: usageId.optional(),
    }),
    answer: z
      .object({
        object: z.literal('platform.usage_recompute'),
        start_time: unixTime,
        end_time: unixTime,
        count: z.int().describe('Records in this stretch.'),
        charged_usd: usdText.describe('Charged and overrun together.'),
        recomputed_usd: usdText,
        difference_count: z.int(),
        differences: z.array(difference).describe('The first of them.'),
        next: z.string().nullable(),
      })
      .meta({ id: 'UsageRecompute' }),
  },
} as const satisfies Endpoints
