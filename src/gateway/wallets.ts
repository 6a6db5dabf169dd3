/**
 * One wallet an organization: what this node may spend of its credit without asking. Admission is arithmetic while the
 * slice lasts; when it does not, the calls that wait share one trip to the database.
 *
 * The database decides what a lease holds. After every trip, failed ones included, the wallet takes the lease's own
 * figures, so that an answer lost on the way can neither mint nor lose money.
 */
import { randomUUID } from 'node:crypto'
import { type ApiError, apiError } from '#contract/errors.ts'
import type { LeaseId, OrganizationId } from '#contract/ids.ts'
import { addUsd, formatUsd, largerUsd, type NanoUsd, nanoUsd, smallerUsd, subtractUsd, zeroUsd } from '#core/money.ts'
import { available, emptyWallet, hold, release, settle, type Wallet } from '#core/wallet.ts'
import type { Database } from '#storage/database.ts'
import { closeLeasesOf, growLease, returnLease } from '#storage/leases.ts'

/** Money set aside for one call. Exactly one of `settle` and `release` takes effect, the first one called. */
export type Hold = {
  readonly amount: NanoUsd
  /** Null for a call that cannot cost anything. */
  readonly lease: LeaseId | null
  settle(charged: NanoUsd): void
  release(): void
}

type Waiter = { readonly amount: NanoUsd; admitted(hold: Hold): void; refused(error: unknown): void }

type Account = {
  readonly organization: OrganizationId
  readonly lease: LeaseId
  readonly wallet: Wallet
  waiters: Waiter[]
  trip: Promise<void> | undefined
  /** Money that calls asked for in this window and the one before: sizes the next slice, and shows an idle account. */
  recent: NanoUsd
  before: NanoUsd
}

export type WalletSettings = {
  /** A slice is at most this, unless one call alone needs more. */
  readonly leaseNanoUsdMax: NanoUsd
  readonly idleMs: number
}

const free: Hold = { amount: zeroUsd, lease: null, settle: () => undefined, release: () => undefined }

export class Wallets {
  readonly #database: Database
  readonly #node: string
  readonly #settings: WalletSettings
  readonly #accounts = new Map<OrganizationId, Account>()
  readonly #timer: NodeJS.Timeout
  readonly #onError: (message: string, error: unknown) => void

  constructor(
    database: Database,
    node: string,
    settings: WalletSettings,
    onError: (message: string, error: unknown) => void,
  ) {
    this.#database = database
    this.#node = node
    this.#settings = settings
    this.#onError = onError
    this.#timer = setInterval(() => this.#returnIdle(), settings.idleMs).unref()
  }

  /**
   * Holds `amount` of the organization's credit, at once while the slice covers it.
   * @throws ApiError credit_balance_exhausted, or storage_unavailable when the slice is used up and the database is away
   */
  reserve(organization: OrganizationId, amount: NanoUsd): Hold | Promise<Hold> {
    if (amount === 0n) return free
    const account = this.#account(organization)
    account.recent = addUsd(account.recent, amount)
    // Those who wait come first, or a stream of small calls would starve a large one
    if (account.waiters.length === 0 && hold(account.wallet, amount)) return makeHold(account, amount)
    return new Promise((admitted, refused) => {
      account.waiters.push({ amount, admitted, refused })
      account.trip ??= this.#serveWaiters(account)
    })
  }

  /** Hands everything back. Only when the journal has been delivered and no call is in flight. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.reset()
  }

  /** As `close`, but new calls may follow: they begin with new leases. */
  async reset(): Promise<void> {
    for (const account of this.#accounts.values()) await account.trip
    this.#accounts.clear()
    await closeLeasesOf(this.#database, this.#node)
  }

  /** Stops the timer and leaves the leases open, for the next start to reconcile. */
  abandon(): void {
    clearInterval(this.#timer)
  }

  #account(organization: OrganizationId): Account {
    const known = this.#accounts.get(organization)
    if (known) return known
    // A random UUID of ours is what a lease id is.
    const lease = randomUUID() as unknown as LeaseId
    const account: Account = {
      organization,
      lease,
      wallet: emptyWallet(),
      waiters: [],
      trip: undefined,
      recent: zeroUsd,
      before: zeroUsd,
    }
    this.#accounts.set(organization, account)
    return account
  }

  async #serveWaiters(account: Account): Promise<void> {
    for (let first = account.waiters[0]; first; first = account.waiters[0]) {
      const refusal = available(account.wallet) < first.amount ? await this.#grow(account, first.amount) : undefined
      // What is left of the credit each has to ask for itself; a database that is away is away for all of them
      const served = refusal?.errorCode === 'storage_unavailable' ? account.waiters.length : 1
      for (const waiter of account.waiters.splice(0, served)) {
        if (hold(account.wallet, waiter.amount)) waiter.admitted(makeHold(account, waiter.amount))
        else waiter.refused(refusal)
      }
    }
    account.trip = undefined
  }

  /** @returns what to tell the call that started it, should it still not be covered */
  async #grow(account: Account, amount: NanoUsd): Promise<ApiError> {
    const need = subtractUsd(amount, available(account.wallet))
    const waiting = account.waiters.reduce((sum, waiter) => sum + waiter.amount, 0n)
    const target = smallerUsd(nanoUsd(waiting + (account.recent + account.before) * 2n), this.#settings.leaseNanoUsdMax)
    const want = largerUsd(target, need)
    try {
      const { lease, organization, wallet } = account
      const grown = await growLease(this.#database, { lease, organization, node: this.#node, need, want })
      wallet.granted = grown.granted
      return apiError('credit_balance_exhausted', {
        neededUsd: formatUsd(amount),
        leftUsd: formatUsd(addUsd(grown.leftOver, available(wallet))),
      })
    } catch (cause) {
      return apiError('storage_unavailable', undefined, { cause })
    }
  }

  #returnIdle(): void {
    for (const account of this.#accounts.values()) {
      const quiet = account.recent === 0n && account.waiters.length === 0
      account.before = account.recent
      account.recent = zeroUsd
      const spare = available(account.wallet)
      if (quiet && !account.trip && spare > 0n) account.trip = this.#giveBack(account, spare)
    }
  }

  async #giveBack(account: Account, spare: NanoUsd): Promise<void> {
    const { wallet, lease } = account
    // Set aside first: a call that comes meanwhile must not spend what is on its way back
    wallet.granted = subtractUsd(wallet.granted, spare)
    try {
      await returnLease(this.#database, lease, spare)
    } catch (error) {
      // Whether it arrived is not known: it stays aside, and the next trip tells what the lease holds
      this.#onError('idle credit could not be handed back; it stays reserved until the lease is next read', error)
    }
    account.trip = undefined
    if (account.waiters.length > 0) account.trip = this.#serveWaiters(account)
  }
}

function makeHold(account: Account, amount: NanoUsd): Hold {
  let open = true
  const once = (work: () => void): void => {
    if (!open) return
    open = false
    work()
  }
  return {
    amount,
    lease: account.lease,
    settle: charged => once(() => settle(account.wallet, amount, charged)),
    release: () => once(() => release(account.wallet, amount)),
  }
}
