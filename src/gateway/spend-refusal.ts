/** What a call is told when an account does not cover it: which one, how much is left, when it counts anew, what to do. */
import { type ApiError, apiError } from '#contract/errors.ts'
import { addUsd, formatUsd, largerUsd, type NanoUsd, zeroUsd } from '#core/money.ts'
import { type LimitAccount, periodEnd, type SpendAccount } from '#core/spending.ts'
import type { GrownLease } from '#storage/leases.ts'

/** @param own what this node has left of the account */
export function spendRefusal(account: SpendAccount, needed: NanoUsd, grown: GrownLease, own: NanoUsd): ApiError {
  const neededUsd = formatUsd(needed)
  const leftUsd = formatUsd(largerUsd(zeroUsd, addUsd(grown.leftOver, own)))
  if (account.kind === 'credit') return apiError('credit_balance_exhausted', { neededUsd, leftUsd })
  const limit = { neededUsd, leftUsd, limitUsd: formatUsd(grown.limit ?? zeroUsd), resets: resetsOf(account) }
  if (account.kind === 'key') return apiError('key_budget_exceeded', { ...limit, period: account.period })
  if (account.kind === 'project') return apiError('project_spend_limit_exceeded', { ...limit, project: account.scope })
  return apiError(grown.capped ? 'organization_usage_limit_exceeded' : 'organization_spend_limit_exceeded', limit)
}

function resetsOf({ period, startsAtMs }: LimitAccount): string {
  const end = periodEnd(period, startsAtMs)
  return end === undefined ? 'It does not start anew.' : `It starts anew at ${new Date(end).toISOString()}.`
}
