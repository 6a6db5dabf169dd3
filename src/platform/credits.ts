/** Prepaid credit: what is left, and the operator's grants. */
import { randomUUID } from 'node:crypto'
import type { credits } from '#contract/credits.ts'
import { apiError } from '#contract/errors.ts'
import { formatUsd, type NanoUsd } from '#core/money.ts'
import { grantCredit, readCredit } from '#storage/credits.ts'
import { readUsd } from './amounts.ts'
import { change } from './change.ts'
import type { Handlers } from './handler.ts'
import { unixSeconds } from './page.ts'

export const creditHandlers: Handlers<typeof credits> = {
  async balance({ database }, { grant }) {
    const { available, reserved } = await readCredit(database, grant.organizationId)
    return {
      object: 'organization.credit_balance',
      available_usd: formatUsd(available),
      reserved_usd: formatUsd(reserved),
      currency: 'usd',
    }
  },

  async grant(parts, call) {
    const { organizationId } = call.grant
    const { reference = randomUUID(), note = null, ...body } = call.body
    const amount = readUsd(body.amount_usd)
    if (amount === 0n) throw nothingGranted()
    return change(parts, call, async tx => {
      const posted = await grantCredit(tx, { organizationId, amount, reference, note })
      if (!posted) throw alreadyPosted(reference)
      const credit_grant = { id: posted.id, amount_usd: formatUsd(amount), reference, note }
      return {
        answer: toGrant(posted, amount),
        audit: [
          {
            type: 'organization.updated',
            resourceId: organizationId,
            detail: { changes_requested: { credit_grant } },
          },
        ],
        affects: [],
      }
    })
  },
}

const toGrant = ({ id, created_at }: { id: string; created_at: Date }, amount: NanoUsd) => ({
  object: 'organization.credit_grant' as const,
  id,
  amount_usd: formatUsd(amount),
  created_at: unixSeconds(created_at),
})

const nothingGranted = (): Error =>
  apiError('invalid_parameter', { param: 'amount_usd', message: "Invalid 'amount_usd': grant more than nothing." })

const alreadyPosted = (reference: string): Error =>
  apiError('conflict', {
    message: `A credit grant with the reference '${reference}' was posted before. Nothing was granted again.`,
  })
