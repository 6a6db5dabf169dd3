/**
 * What must be true of the money, kept by arithmetic alone: no leases, no slices, no batches. It is told what people did
 * (granted, held, used), and says what the database must then show. One organization; money in nano-dollars.
 */
import { type Period, periodStart } from '#core/spending.ts'

export type Spender = { readonly organization: string; readonly project: string; readonly budgetKey: string }

/** A call, from its hold on. */
export type Held = {
  readonly spender: Spender
  readonly key: string
  readonly beganAtMs: number
  readonly amount: bigint
  /** By the account that it is held against: the window, or 'credit'. */
  readonly leases: ReadonlyMap<string, string>
}

/** A call that has ended. */
export type Used = Held & {
  readonly id: string
  readonly cost: bigint
  /** What its node settled it to. */
  readonly journalled: bigint
  /** The same, but where its lease was taken back and the credit did not suffice: then the platform bears the rest. */
  charged: bigint
}

export type Grant = { readonly amount: bigint; readonly endsAtMs: number | null; revoked: boolean }

export type Budget = { readonly limit: bigint; readonly period: Period; readonly setAtMs: number }

export const windowName = (scope: string, period: Period, startsAtMs: number): string =>
  `${scope} ${period} ${startsAtMs}`

export class Oracle {
  readonly grants = new Map<string, Grant>()
  readonly held = new Map<string, Held>()
  /** In a journal, not in the database. */
  readonly underway = new Map<string, Used>()
  readonly settled = new Map<string, Used>()
  /** Leases that were taken back while something of them was held or underway. */
  readonly lost = new Set<string>()
  /** In nano-dollars a month, by scope. */
  readonly limits = new Map<string, bigint>()
  readonly caps = new Map<string, bigint>()
  readonly budgets = new Map<string, Budget>()
  /** Those that can have a budget. */
  readonly keys: ReadonlySet<string>

  constructor(keys: readonly string[]) {
    this.keys = new Set(keys)
  }

  get granted(): bigint {
    return sum(this.grants.values(), ({ amount }) => amount)
  }

  get cost(): bigint {
    return sum(this.settled.values(), ({ cost }) => cost)
  }

  get charged(): bigint {
    return sum(this.settled.values(), ({ charged }) => charged)
  }

  /** No more than this can have been taken back by now. */
  ended(nowMs: number): bigint {
    const over = (grant: Grant): boolean => grant.revoked || (grant.endsAtMs !== null && grant.endsAtMs <= nowMs)
    return sum(this.grants.values(), grant => (over(grant) ? grant.amount : 0n))
  }

  /** The database has taken them. @returns those that it had not taken before */
  settle(ids: readonly string[]): Used[] {
    return ids.flatMap(id => {
      const used = this.underway.get(id)
      if (!used) return []
      this.underway.delete(id)
      this.settled.set(id, used)
      return [used]
    })
  }

  /** What a lease must still cover. */
  owed(): Map<string, bigint> {
    const owed = new Map<string, bigint>()
    const add = (leases: Held['leases'], amount: bigint): void => {
      for (const lease of leases.values()) owed.set(lease, (owed.get(lease) ?? 0n) + amount)
    }
    for (const { leases, amount } of this.held.values()) add(leases, amount)
    for (const { leases, charged } of this.underway.values()) add(leases, charged)
    return owed
  }

  /** What every window has spent. A key's counts from when its budget was set. */
  spent(): Map<string, bigint> {
    const spent = new Map<string, bigint>()
    for (const { spender, beganAtMs, charged } of this.settled.values()) {
      for (const window of this.windowsOf(spender, beganAtMs)) spent.set(window, (spent.get(window) ?? 0n) + charged)
    }
    return spent
  }

  windowsOf({ organization, project, budgetKey }: Spender, atMs: number): string[] {
    const monthly = [organization, project].map(scope => windowName(scope, 'month', periodStart('month', atMs)))
    const budget = this.budgets.get(budgetKey)
    return budget ? [...monthly, windowName(budgetKey, budget.period, periodStart(budget.period, atMs))] : monthly
  }

  /** A key's windows are kept while it has a budget of that period; the others always. */
  keeps(window: string): boolean {
    const [scope = '', period, startsAtMs] = window.split(' ')
    if (!this.keys.has(scope)) return true
    const budget = this.budgets.get(scope)
    return (
      budget !== undefined &&
      budget.period === period &&
      Number(startsAtMs) >= periodStart(budget.period, budget.setAtMs)
    )
  }

  /** Null: none. */
  limitOf(scope: string, period: Period): bigint | null {
    const budget = this.budgets.get(scope)
    if (budget) return budget.period === period ? budget.limit : null
    if (period !== 'month') return null
    const both = [this.limits.get(scope), this.caps.get(scope)].filter(limit => limit !== undefined)
    return both.reduce<bigint | null>((least, limit) => (least === null || limit < least ? limit : least), null)
  }
}

export function sum<Item>(items: Iterable<Item>, amountOf: (item: Item) => bigint): bigint {
  let total = 0n
  for (const item of items) total += amountOf(item)
  return total
}
