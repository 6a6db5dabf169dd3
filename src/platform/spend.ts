/** What was spent this month, and what the limits leave. */
import type { spend } from '#contract/spend-limits.ts'
import type { Grant } from '#core/grant.ts'
import { formatUsd, nanoUsd } from '#core/money.ts'
import { readSpendLimit } from '#storage/spend-limits.ts'
import { readSpendWindow, readUsageCap } from '#storage/spend-windows.ts'
import type { Handlers } from './handler.ts'
import { unixSeconds } from './page.ts'
import type { PlatformParts } from './platform.ts'
import { readPlace } from './setting-place.ts'

export const spendHandlers: Handlers<typeof spend> = {
  async retrieve(parts, { grant }) {
    const cap = await readUsageCap(parts.database, grant.organizationId)
    const usage_tier_cap_usd = cap === undefined ? null : formatUsd(cap)
    return { object: 'organization.spend', ...(await spendOf(parts, grant, {})), usage_tier_cap_usd }
  },
  async retrieveForProject(parts, { grant, params }) {
    return { object: 'project.spend', ...(await spendOf(parts, grant, params)) }
  },
}

const nanoPerCent = 10_000_000n

async function spendOf({ database }: PlatformParts, grant: Grant, params: { readonly project_id?: string }) {
  const { id } = await readPlace(database, grant, params)
  const cents = await readSpendLimit(database, id)
  const { startsAt, endsAt = startsAt, spent, leased, remaining } = await readSpendWindow(database, id, 'month')
  return {
    interval: 'month' as const,
    starts_at: unixSeconds(startsAt),
    resets_at: unixSeconds(endsAt),
    limit_usd: cents === undefined ? null : formatUsd(nanoUsd(BigInt(cents) * nanoPerCent)),
    spent_usd: formatUsd(spent),
    reserved_usd: formatUsd(leased),
    remaining_usd: remaining === undefined ? null : formatUsd(remaining),
  }
}
