/** Prepaid credit: what is left, and the operator's grants. */
import { randomUUID } from 'node:crypto'
import type { credits } from '#contract/credits.ts'
import { apiError } from '#contract/errors.ts'
import { formatUsd } from '#core/money.ts'
import { grantCredit, readCredit } from '#storage/credits.ts'
import { readUsd } from './amounts.ts'
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

  async grant({ database }, { grant: { organizationId }, body }) {
    const amount = readUsd(body.amount_usd)
    if (amount === 0n) throw nothingGranted()
    const reference = body.reference ?? randomUUID()
    const posted = await database.transaction(tx =>
      grantCredit(tx, { organizationId, amount, reference, note: body.note ?? null }),
    )
    if (!posted) throw alreadyPosted(reference)
    return {
      object: 'organization.credit_grant',
      id: posted.id,
      amount_usd: formatUsd(amount),
      created_at: unixSeconds(posted.created_at),
    }
  },
}

const nothingGranted = (): Error =>
  apiError('invalid_parameter', { param: 'amount_usd', message: "Invalid 'amount_usd': grant more than nothing." })

const alreadyPosted = (reference: string): Error =>
  apiError('conflict', {
    message: `A credit grant with the reference '${reference}' was posted before. Nothing was granted again.`,
  })
