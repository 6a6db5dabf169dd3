/**
 * The accounts that a call is held against: the organization's credit, and each spend limit that applies to it. A limit is
 * counted by periods that begin at midnight UTC, weeks on Mondays; a call belongs to the period in which it began.
 */
import type { ApiKeyId, OrganizationId, ProjectId } from '#contract/ids.ts'

export const periods = ['day', 'week', 'month', 'total'] as const
/** `total`: once and for all. */
export type Period = (typeof periods)[number]

/** Which spend limits apply to a key. How much they are is the database's to know: it alone says what is left. */
export type SpendLimits = {
  readonly organization: boolean
  readonly project: boolean
  /** Null: the key has no budget of its own. */
  readonly key: Period | null
}

export type LimitKind = 'organization' | 'project' | 'key'

export type CreditAccount = { readonly kind: 'credit'; readonly organization: OrganizationId }

export type LimitAccount = {
  readonly kind: LimitKind
  readonly organization: OrganizationId
  readonly scope: OrganizationId | ProjectId | ApiKeyId
  readonly period: Period
  /** Milliseconds since 1970. */
  readonly startsAtMs: number
}

export type SpendAccount = CreditAccount | LimitAccount

/** What names the account to other nodes that are asked to hand some of it back. */
export const scopeOf = (account: SpendAccount): string =>
  account.kind === 'credit' ? account.organization : account.scope

const dayMs = 86_400_000
/** 1970 began on a Thursday: the first Monday was the fifth of January. */
const firstMondayMs = 4 * dayMs
const weekMs = 7 * dayMs

export function periodStart(period: Period, atMs: number): number {
  if (period === 'total') return 0
  if (period === 'day') return atMs - (atMs % dayMs)
  if (period === 'week') return atMs - ((atMs - firstMondayMs) % weekMs)
  const at = new Date(atMs)
  return Date.UTC(at.getUTCFullYear(), at.getUTCMonth())
}

/** When what was spent counts anew; undefined for a budget that never does. */
export function periodEnd(period: Period, startsAtMs: number): number | undefined {
  if (period === 'total') return undefined
  if (period === 'day') return startsAtMs + dayMs
  if (period === 'week') return startsAtMs + weekMs
  const starts = new Date(startsAtMs)
  return Date.UTC(starts.getUTCFullYear(), starts.getUTCMonth() + 1)
}

type Spender = {
  readonly organizationId: OrganizationId
  readonly projectId: ProjectId
  readonly budgetKeyId: ApiKeyId
  readonly spendLimits: SpendLimits
}

/**
 * The accounts of a call that began at `atMs`, the narrowest first: a call that its key's budget refuses never touches what
 * others share. Everybody takes them in this order, so that no two calls wait for each other.
 */
export function accountsOf(spender: Spender, atMs: number): SpendAccount[] {
  const { organizationId: organization, projectId, budgetKeyId, spendLimits } = spender
  const accounts: SpendAccount[] = []
  const limit = (kind: LimitKind, scope: LimitAccount['scope'], period: Period): void => {
    accounts.push({ kind, organization, scope, period, startsAtMs: periodStart(period, atMs) })
  }
  if (spendLimits.key !== null) limit('key', budgetKeyId, spendLimits.key)
  if (spendLimits.project) limit('project', projectId, 'month')
  if (spendLimits.organization) limit('organization', organization, 'month')
  accounts.push({ kind: 'credit', organization })
  return accounts
}
