/** Whether the money adds up. */
import { z } from 'zod'
import { usdText } from './amounts.ts'
import { type Endpoints, unixTime } from './endpoint.ts'

const finding = z.object({
  rule: z.string(),
  subject: z.string().describe('An account, a transaction, an organization, a lease, or a window of spend.'),
  expected_usd: usdText.nullable(),
  found_usd: usdText.nullable(),
  found_at: unixTime,
  seen_at: unixTime,
})

export const ledgerVerification = z
  .object({
    object: z.literal('platform.ledger_verification'),
    adds_up: z.boolean(),
    findings: z.array(finding),
  })
  .meta({ id: 'LedgerVerification' })

export const ledger = {
  retrieve: {
    method: 'GET',
    path: '/v1/platform/ledger/verification',
    summary: 'What the last verifications found and nothing has mended.',
    scope: 'api.platform.read',
    operatorOnly: true,
    answer: ledgerVerification,
  },
  verify: {
    method: 'POST',
    path: '/v1/platform/ledger/verification',
    summary: 'Verify the ledger, grants, leases and spend windows now.',
    scope: 'api.platform.write',
    operatorOnly: true,
    body: z
      .strictObject({
        full: z
          .boolean()
          .default(false)
          .describe('From the first transaction; else what is new, and some of the windows.'),
      })
      .default({ full: false }),
    answer: ledgerVerification,
  },
} as const satisfies Endpoints
