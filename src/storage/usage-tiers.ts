/** The usage tier of an organization, and the monthly cap that comes with it. */
import type { OrganizationId } from '#contract/ids.ts'
import { monthlyCapOf, type TierName } from '#core/usage-tiers.ts'
import { type Queryable, sql } from './database.ts'

export type TierRow = {
  readonly organization_id: OrganizationId
  readonly usage_tier: TierName | null
  readonly by_hand: boolean
}

const selectTier = sql(
  'select id as organization_id, usage_tier, usage_tier_by_hand as by_hand from organizations where id = $1',
)

export async function readTier(database: Queryable, organization: string): Promise<TierRow | undefined> {
  const [row] = await database.query<TierRow>(selectTier, [organization])
  return row
}

const updateTier = sql(`update organizations set usage_tier = $2, usage_tier_by_hand = $3, usage_cap_nano_usd = $4
  where id = $1 returning id as organization_id, usage_tier, usage_tier_by_hand as by_hand`)

/** @returns undefined where there is no such organization */
export async function setTier(
  tx: Queryable,
  organization: string,
  { tier, byHand }: { readonly tier: TierName | null; readonly byHand: boolean },
): Promise<TierRow | undefined> {
  const cap = tier === null ? null : monthlyCapOf(tier)
  const [row] = await tx.query<TierRow>(updateTier, [organization, tier, byHand, cap])
  return row
}
