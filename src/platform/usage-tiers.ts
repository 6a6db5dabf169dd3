/** Usage tiers: shown to their organization, and set by hand by the operator. Payments move them on: see `tierFor`. */
import { apiError } from '#contract/errors.ts'
import type { usageTiers } from '#contract/usage-tiers.ts'
import { type EveryLimit, namedLimits } from '#core/limit-dimensions.ts'
import { formatUsd, type NanoUsd, nanoUsd } from '#core/money.ts'
import { monthlyCapOf, nextTier, type TierName, usageTiers as tiers } from '#core/usage-tiers.ts'
import { readTier, setTier, type TierRow } from '#storage/usage-tiers.ts'
import { change } from './change.ts'
import type { Handlers } from './handler.ts'

export const usageTierHandlers: Handlers<typeof usageTiers> = {
  async retrieve({ database }, { grant }) {
    return toUsageTier(existing(await readTier(database, grant.organizationId)))
  },

  update(parts, call) {
    const { organization_id: id = call.grant.organizationId, usage_tier: tier, promotion } = call.body
    return change(parts, call, async tx => {
      const row = existing(await setTier(tx, id, { tier, byHand: promotion === 'by_hand' }))
      return {
        answer: toUsageTier(row),
        audit: [
          {
            type: 'organization.updated',
            resourceId: id,
            detail: { changes_requested: { usage_tier: tier, promotion } },
          },
        ],
        affects: [['organization', id]],
      }
    })
  },
}

function existing(row: TierRow | undefined): TierRow {
  if (!row) throw apiError('not_found', { what: 'organization' })
  return row
}

function toUsageTier({ organization_id, usage_tier, by_hand }: TierRow) {
  const limits: readonly (readonly [string, EveryLimit])[] = usage_tier === null ? [] : tiers[usage_tier].limits
  return {
    object: 'organization.usage_tier' as const,
    organization_id,
    usage_tier,
    promotion: by_hand ? ('by_hand' as const) : ('automatic' as const),
    monthly_cap_usd: usage_tier === null ? null : formatUsd(monthlyCapOf(usage_tier)),
    limits: limits.map(([models, own]) => ({ models, ...namedLimits(own) })),
    next: usage_tier === null ? null : toNext(nextTier(usage_tier)),
  }
}

const usd = (dollars: number): NanoUsd => nanoUsd(BigInt(dollars) * 1_000_000_000n)

function toNext(tier: TierName | undefined) {
  if (tier === undefined) return null
  const { paidUsd, days } = tiers[tier].qualifies
  return {
    usage_tier: tier,
    paid_usd: formatUsd(usd(paidUsd)),
    days,
    monthly_cap_usd: formatUsd(monthlyCapOf(tier)),
  }
}
