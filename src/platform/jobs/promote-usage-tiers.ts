import { formatUsd } from '#core/money.ts'
import { type TierName, tierFor, tierNames } from '#core/usage-tiers.ts'
import { recordAuthEvent } from '#storage/auth-events.ts'
import { listPaid, lockPaid, type PaidOrganization } from '#storage/tier-promotions.ts'
import { setTier } from '#storage/usage-tiers.ts'
import { record } from '../change.ts'
import type { Job, JobParts } from './job.ts'

export const promoteUsageTiers: Job = {
  about: 'Raises the usage tier of organizations that have paid enough for the next one; never lowers one.',
  cron: '*/5 * * * *',
  async run(parts) {
    const promoted: string[] = []
    for (const organization of await listPaid(parts.database)) {
      const tier = earned(parts, organization)
      if (tier !== undefined && (await promote(parts, organization))) promoted.push(`${organization.id} to ${tier}`)
    }
    return promoted.length === 0 ? null : promoted.join(', ')
  },
}

/** Undefined while it is where it belongs, or above. */
function earned({ wallClock }: JobParts, { tier, paid, firstPaidAt }: PaidOrganization): TierName | undefined {
  const sinceFirstPayment = firstPaidAt && wallClock() - firstPaidAt.getTime()
  const now = tierFor({ paid, sinceFirstPayment })
  return tierNames.indexOf(now) > tierNames.indexOf(tier) ? now : undefined
}

/** Decides again once the organization is locked. False when there was nothing left to do. */
async function promote(parts: JobParts, { id }: PaidOrganization): Promise<boolean> {
  return parts.database.transaction(async tx => {
    const organization = await lockPaid(tx, id)
    const tier = organization && earned(parts, organization)
    if (!organization || tier === undefined) return false
    await setTier(tx, id, { tier, byHand: false })
    const usage_tier = { from: organization.tier, to: tier, paid_usd: formatUsd(organization.paid) }
    const entry = {
      type: 'organization.updated',
      resourceId: id,
      detail: { changes_requested: { usage_tier } },
    } as const
    await record(tx, { system: { organizationId: id, job: 'promote-usage-tiers' } }, entry, parts.wallClock())
    await recordAuthEvent(tx, 'organization', id)
    return true
  })
}
