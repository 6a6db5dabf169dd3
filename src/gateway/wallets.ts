/**
 * What this node may spend, of every account that its calls are held against: a purse an account. A call is held against
 * all of its accounts, or against none.
 */
import type { LeaseId } from '#contract/ids.ts'
import { type NanoUsd, zeroUsd } from '#core/money.ts'
import { type SpendAccount, scopeOf } from '#core/spending.ts'
import { closeLeasesOf, closeStrayLeases } from '#storage/leases.ts'
import { isDatabaseAway } from '#storage/unavailable.ts'
import { type Amounts, Purse, type PurseHold, type PurseParts } from './purse.ts'

/** Money set aside for one call. Exactly one of `settle` and `release` takes effect, the first one called. */
export type Hold = {
  /** At most what was asked for; less where an account had no more. */
  readonly amount: NanoUsd
  /** Null for a call that cannot cost anything. */
  readonly creditLease: LeaseId | null
  readonly limitLeases: readonly LeaseId[]
  /** What the tightest spend limit has left, as far as this node has heard; undefined without a limit. */
  remaining(): NanoUsd | undefined
  settle(charged: NanoUsd): void
  release(): void
}

const free: Hold = {
  amount: zeroUsd,
  creditLease: null,
  limitLeases: [],
  remaining: () => undefined,
  settle: () => undefined,
  release: () => undefined,
}

export class Wallets {
  readonly #parts: PurseParts
  readonly #purses = new Map<string, Purse>()
  readonly #timer: NodeJS.Timeout
  #tidying = false

  constructor(parts: PurseParts, idleMs: number) {
    this.#parts = parts
    this.#timer = setInterval(() => void this.tidy(), idleMs).unref()
  }

  /**
   * Holds the most that the accounts cover of `amounts`, at once while this node's slices do.
   * @param accounts in the order of `accountsOf`
   * @throws ApiError credit_balance_exhausted, …_spend_limit_exceeded, key_budget_exceeded; or storage_unavailable when a
   *   slice is used up and the database is away
   */
  reserve(accounts: readonly SpendAccount[], amounts: Amounts): Hold | Promise<Hold> {
    const { most } = amounts
    if (most === 0n) return free
    const purses = accounts.map(account => this.#purse(account))
    if (!purses.every(purse => purse.covers(most))) return this.#reserveByAndBy(accounts, amounts)
    return makeHold(
      purses,
      purses.map(purse => purse.hold(most)),
    )
  }

  /** Another node needs what this one can spare of the organization's credit, or of a scope's spend limit. */
  recall(scope: string): void {
    for (const purse of this.#purses.values()) if (scopeOf(purse.account) === scope) purse.recall()
  }

  /** This node was given up for lost, and the leases that it had then were taken back. */
  doubtLeases(): void {
    for (const purse of this.#purses.values()) purse.doubt()
  }

  /** Hands back what is idle, every so often. One round at a time, however long the database takes. */
  async tidy(): Promise<void> {
    if (this.#tidying) return
    this.#tidying = true
    for (const [id, purse] of this.#purses) {
      await purse.tidy()
      if (purse.empty) this.#purses.delete(id)
    }
    await this.#closeStrays()
    this.#tidying = false
  }

  /** What a statement reserved that the network, or a crash, brought so late that nobody waited for it any more. */
  async #closeStrays(): Promise<void> {
    const { database, node, onError } = this.#parts
    const isKnown = (lease: LeaseId): boolean => [...this.#purses.values()].some(purse => purse.lease === lease)
    try {
      await closeStrayLeases(database, node, isKnown)
    } catch (error) {
      // That it is away is said by those who cannot wait for the next round
      if (!isDatabaseAway(error)) onError('leases that nobody uses could not be closed', error)
    }
  }

  /** Hands everything back. Only when the journal has been delivered and no call is in flight. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.reset()
  }

  /** As `close`, but new calls may follow: they begin with new leases. */
  async reset(): Promise<void> {
    for (const purse of this.#purses.values()) await purse.settled()
    this.#purses.clear()
    await closeLeasesOf(this.#parts.database, this.#parts.node)
  }

  /** Stops the timer and leaves the leases open, for the next start to reconcile. */
  abandon(): void {
    clearInterval(this.#timer)
  }

  async #reserveByAndBy(accounts: readonly SpendAccount[], { most, least }: Amounts): Promise<Hold> {
    const purses: Purse[] = []
    const parts: PurseHold[] = []
    let amount = most
    try {
      for (const account of accounts) {
        const purse = this.#purse(account)
        const part = purse.covers(amount) ? purse.hold(amount) : await purse.wait({ most: amount, least })
        purses.push(purse)
        parts.push(part)
        amount = part.amount
      }
    } catch (error) {
      for (const part of parts) part.release()
      throw error
    }
    return makeHold(
      purses,
      parts.map(part => (part.amount > amount ? part.cutTo(amount) : part)),
    )
  }

  #purse(account: SpendAccount): Purse {
    const id = idOf(account)
    const known = this.#purses.get(id)
    if (known) return known
    const purse = new Purse(account, this.#parts)
    this.#purses.set(id, purse)
    return purse
  }
}

const idOf = (account: SpendAccount): string =>
  account.kind === 'credit' ? account.organization : `${account.scope} ${account.period} ${account.startsAtMs}`

function makeHold(purses: readonly Purse[], parts: readonly PurseHold[]): Hold {
  let open = true
  const once = (work: (part: PurseHold) => void): void => {
    if (!open) return
    open = false
    for (const part of parts) work(part)
  }
  const leases = parts.map(part => part.lease)
  return {
    amount: parts[0]?.amount ?? zeroUsd,
    // Credit is the widest of the accounts, and the last
    creditLease: leases.at(-1) ?? null,
    limitLeases: leases.slice(0, -1),
    remaining: () => tightest(purses.slice(0, -1)),
    settle: charged => once(part => part.settle(charged)),
    release: () => once(part => part.release()),
  }
}

function tightest(purses: readonly Purse[]): NanoUsd | undefined {
  let least: NanoUsd | undefined
  for (const { remaining } of purses) {
    if (remaining !== undefined && (least === undefined || remaining < least)) least = remaining
  }
  return least
}
