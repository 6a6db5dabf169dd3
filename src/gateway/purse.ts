/**
 * What this node may spend of one account without asking: a lease, seen from memory. Admission is arithmetic while the slice
 * lasts; when it does not, the calls that wait share one trip to the database. Where other nodes hold slices that they do
 * not need, they are asked for them before anyone is refused.
 *
 * The database decides what a lease holds. After every trip, failed ones included, the purse takes the lease's own figures,
 * so that an answer lost on the way can neither mint nor lose money.
 */
import { randomUUID } from 'node:crypto'
import { ApiError, apiError } from '#contract/errors.ts'
import type { LeaseId } from '#contract/ids.ts'
import { addUsd, largerUsd, type NanoUsd, nanoUsd, smallerUsd, subtractUsd, zeroUsd } from '#core/money.ts'
import { type SpendAccount, scopeOf } from '#core/spending.ts'
import { available, emptyWallet, hold, release, settle, type Wallet } from '#core/wallet.ts'
import type { Database } from '#storage/database.ts'
import { closeSettledLease, type GrownLease, growLease, recallLeases, returnLease } from '#storage/leases.ts'
import { spendRefusal } from './spend-refusal.ts'

/** `least` is the smallest amount that is of any use; between the two the call is cut to what there is. */
export type Amounts = { readonly most: NanoUsd; readonly least: NanoUsd }

/** Money of one account, set aside for one call. Ends once, by `settle` or by `release`; its owner sees to that. */
export type PurseHold = {
  readonly lease: LeaseId
  readonly amount: NanoUsd
  /** Keeps `amount` of it and frees the rest. */
  cutTo(amount: NanoUsd): PurseHold
  settle(charged: NanoUsd): void
  release(): void
}

export type PurseParts = {
  readonly database: Database
  readonly node: string
  /** A slice is at most this, unless one call alone needs more. */
  readonly leaseNanoUsdMax: NanoUsd
  /** Milliseconds of a monotonic clock. */
  now(): number
  sleep(ms: number): Promise<void>
  onError(message: string, error: unknown): void
}

type Waiter = Amounts & { admitted(hold: PurseHold): void; refused(error: unknown): void }

/** How long a call waits for what other nodes hold and do not need. */
const recallWaitMs = 500
const recallPollMs = 20
/** Who is asked and has something to spare has handed it back by then. */
const recallPolls = 3
/** Where asking the others brought nothing, nobody is asked again for this long. */
const recallAgainMs = 1_000
/** A lease moves by itself only where an answer was lost, and a new one only where this node is given up once more. */
const askTriesMax = 6

export class Purse {
  readonly account: SpendAccount
  readonly #parts: PurseParts
  #lease = newLease()
  #wallet: Wallet = emptyWallet()
  /** The lease's newest movement that was heard of. */
  #movement = 0
  #waiters: Waiter[] = []
  #trip: Promise<void> | undefined
  /** Money that calls asked for in this window and the one before: sizes the next slice, and shows an idle account. */
  #recent = zeroUsd
  #before = zeroUsd
  #noRecallBeforeMs = Number.NEGATIVE_INFINITY
  #recalled = false
  /** The database was asked for something and its answer was lost: what the lease holds is known when it is read again. */
  #doubtful = false
  /** How often this node was given up for lost. */
  #doubts = 0
  /** Then what is not held is handed back, for the database to say anew what is left: credit ends, limits are lowered. */
  #endsAtMs = Number.POSITIVE_INFINITY
  /** How often that has been. What a call from before does not use is not for the calls after. */
  #ends = 0
  /** Of such calls: not available any more, and not handed back yet. */
  #outlived = zeroUsd
  /** What was left outside of this purse when the database last said so. */
  #leftOver: NanoUsd | undefined

  constructor(account: SpendAccount, parts: PurseParts) {
    this.account = account
    this.#parts = parts
  }

  /** Whether `amount` can be held at once. Those who wait come first, or many small calls would starve a large one. */
  covers(amount: NanoUsd): boolean {
    return this.#waiters.length === 0 && available(this.#wallet) >= amount && !this.#ended
  }

  /** What the account has left, as far as this node has heard. */
  get remaining(): NanoUsd | undefined {
    return this.#leftOver === undefined ? undefined : addUsd(this.#leftOver, available(this.#wallet))
  }

  /** Only what `covers` has said yes to. */
  hold(amount: NanoUsd): PurseHold {
    this.#recent = addUsd(this.#recent, amount)
    return this.#take(amount)
  }

  /** @throws ApiError the account's refusal, or storage_unavailable when the slice is used up and the database is away */
  wait(amounts: Amounts): Promise<PurseHold> {
    this.#recent = addUsd(this.#recent, amounts.most)
    return new Promise((admitted, refused) => {
      this.#waiters.push({ ...amounts, admitted, refused })
      this.#begin(() => this.#serveWaiters())
    })
  }

  /** Another node needs what this one can spare. */
  recall(): void {
    this.#recalled = true
    this.#endsAtMs = this.#parts.now()
    if (this.#waiters.length === 0) this.#begin(() => this.#giveBack())
  }

  /** Nothing is held, leased or waited for: it can be forgotten. */
  get empty(): boolean {
    return this.#waiters.length === 0 && !this.#trip && this.#wallet.granted === 0n && !this.#doubtful
  }

  /** Hands back what a quiet account does not need. */
  async tidy(): Promise<void> {
    const quiet = this.#recent === 0n && this.#waiters.length === 0 && !this.#trip
    this.#before = this.#recent
    this.#recent = zeroUsd
    if (!quiet) return
    this.#begin(async () => {
      await this.#giveBack()
      if (this.#wallet.held === 0n && !this.#doubtful) await this.#close()
    })
    await this.#trip
  }

  /** In which money of the account is reserved, if any is. */
  get lease(): LeaseId {
    return this.#lease
  }

  /**
   * This node was given up for lost, and the lease perhaps taken back: nothing more is held of it before the database has
   * said what it has. Not forgotten, because it may be one that began after that, and then nobody else hands it back.
   */
  doubt(): void {
    this.#doubts += 1
    this.#doubtful = true
    this.#outlived = zeroUsd
    this.#wallet.granted = addUsd(this.#wallet.spent, this.#wallet.held)
  }

  /** The lease has ended: what is held of it stays with its calls, and the next call begins a new one. */
  #forget(): void {
    this.#lease = newLease()
    this.#wallet = emptyWallet()
    this.#outlived = zeroUsd
    this.#movement = 0
    this.#doubtful = false
  }

  async settled(): Promise<void> {
    await this.#trip
  }

  #take(amount: NanoUsd): PurseHold {
    const wallet = this.#wallet
    const lease = this.#lease
    const ends = this.#ends
    if (!hold(wallet, amount)) throw new RangeError('held more than the purse has')
    const freed = (unused: NanoUsd): void => {
      if (ends !== this.#ends && wallet === this.#wallet) this.#outlive(unused)
    }
    const part = (held: NanoUsd): PurseHold => ({
      lease,
      amount: held,
      cutTo(kept) {
        release(wallet, subtractUsd(held, kept))
        freed(subtractUsd(held, kept))
        return part(kept)
      },
      settle(charged) {
        settle(wallet, held, charged)
        freed(subtractUsd(held, charged))
      },
      release() {
        release(wallet, held)
        freed(held)
      },
    })
    return part(amount)
  }

  #outlive(unused: NanoUsd): void {
    this.#wallet.granted = subtractUsd(this.#wallet.granted, unused)
    this.#outlived = addUsd(this.#outlived, unused)
  }

  /** One trip at a time; who waits meanwhile is served before it counts as ended. */
  #begin(work: () => Promise<void>): void {
    this.#trip ??= this.#run(work)
  }

  async #run(work: () => Promise<void>): Promise<void> {
    try {
      await work()
      while (this.#waiters.length > 0) await this.#serveWaiters()
      // Asked meanwhile, by a node that got nothing
      if (this.#recalled) await this.#giveBack()
      while (this.#waiters.length > 0) await this.#serveWaiters()
    } catch (error) {
      // Nothing above throws but for a bug; nobody may wait for ever because of one
      for (const waiter of this.#waiters.splice(0)) waiter.refused(error)
    } finally {
      this.#trip = undefined
    }
  }

  async #serveWaiters(): Promise<void> {
    for (let first = this.#waiters[0]; first; first = this.#waiters[0]) {
      if (this.#ended || this.#outlived > 0n) await this.#giveBack()
      const refusal = available(this.#wallet) < first.most ? await this.#cover(first) : undefined
      // What is left each has to ask for itself; a database that is away is away for all of them, and cuts no answer short
      const away = refusal?.errorCode === 'storage_unavailable'
      for (const waiter of this.#waiters.splice(0, away ? this.#waiters.length : 1)) {
        const amount = smallerUsd(waiter.most, available(this.#wallet))
        if (amount >= (away ? waiter.most : waiter.least)) waiter.admitted(this.#take(amount))
        else waiter.refused(refusal)
      }
    }
  }

  /** @returns what to tell the call, should it still not be covered */
  async #cover(waiter: Waiter): Promise<ApiError | undefined> {
    try {
      let grown = await this.#grow(waiter.most, waiter.most)
      const isInReach = this.#inReach(grown) >= waiter.least
      if (!this.#has(waiter.most) && isInReach && grown.elsewhere > 0n) grown = await this.#askOthers(waiter, grown)
      if (!this.#has(waiter.most) && waiter.least < waiter.most) grown = await this.#grow(waiter.most, waiter.least)
      // Freed meanwhile: whether it may still be spent is for the database to say
      if (!this.#has(waiter.least) && this.#outlived > 0n) {
        await this.#giveBack()
        grown = await this.#grow(waiter.most, waiter.least)
      }
      return spendRefusal(this.account, waiter.least, grown, available(this.#wallet))
    } catch (cause) {
      return cause instanceof ApiError ? cause : apiError('storage_unavailable', undefined, { cause })
    }
  }

  get #ended(): boolean {
    return this.#parts.now() >= this.#endsAtMs
  }

  #has(amount: NanoUsd): boolean {
    return available(this.#wallet) >= amount
  }

  async #grow(amount: NanoUsd, least: NanoUsd): Promise<GrownLease> {
    const waiting = this.#waiters.reduce((sum, { most }) => sum + most, 0n)
    const target = smallerUsd(nanoUsd(waiting + (this.#recent + this.#before) * 2n), this.#parts.leaseNanoUsdMax)
    for (let tries = 0; tries < askTriesMax; tries += 1) {
      const doubts = this.#doubts
      const askedAtMs = this.#parts.now()
      // Asked for money that the lease has already, the account would seem to have too little: it is read first
      const reads = this.#doubtful && amount > 0n
      const grown = await (reads ? this.#ask(zeroUsd, zeroUsd, zeroUsd) : this.#ask(amount, target, least))
      if (grown.closed) this.#forget()
      else if (doubts !== this.#doubts) this.#doubtful = true
      else {
        this.#adopt(grown, askedAtMs)
        if (!grown.overtaken && !reads) return grown
      }
    }
    throw new Error('the lease was taken back, or moved by somebody else, again and again')
  }

  #adopt(grown: GrownLease, askedAtMs: number): void {
    this.#wallet.granted = subtractUsd(grown.granted, this.#outlived)
    this.#movement = grown.movement
    this.#leftOver = grown.leftOver
    this.#endsAtMs = grown.endsInMs === null ? Number.POSITIVE_INFINITY : askedAtMs + grown.endsInMs
  }

  async #ask(amount: NanoUsd, target: NanoUsd, least: NanoUsd): Promise<GrownLease> {
    const missing = (of: NanoUsd): NanoUsd => largerUsd(zeroUsd, subtractUsd(of, available(this.#wallet)))
    const need = missing(amount)
    this.#doubtful = true
    const grown = await growLease(this.#parts.database, {
      lease: this.#lease,
      account: this.account,
      node: this.#parts.node,
      movement: this.#movement,
      need,
      want: largerUsd(target, need),
      least: missing(least),
    })
    this.#doubtful = false
    return grown
  }

  /** @returns false while the database does not answer; the next tidying tries again */
  #read(): Promise<boolean> {
    return this.#grow(zeroUsd, zeroUsd).then(
      () => true,
      () => false,
    )
  }

  /** What there would be if all the others handed back all that they hold. */
  #inReach({ leftOver, elsewhere }: GrownLease): NanoUsd {
    return nanoUsd(available(this.#wallet) + leftOver + elsewhere)
  }

  /**
   * Hands in its own fragment first: two nodes that each hold half of what a call needs would wait for each other. A call that
   * can be had in full is waited for; one that cannot takes what comes back at once.
   */
  async #askOthers(waiter: Waiter, before: GrownLease): Promise<GrownLease> {
    const { database, now, sleep } = this.#parts
    if (now() < this.#noRecallBeforeMs) return before
    await this.#giveBack()
    await recallLeases(database, scopeOf(this.account))
    const until = now() + recallWaitMs
    for (let polls = 1; ; polls += 1) {
      await sleep(recallPollMs)
      if (this.#recalled) await this.#giveBack()
      const grown = await this.#grow(waiter.most, waiter.most)
      if (this.#has(waiter.most) || grown.elsewhere === 0n) return grown
      const inReach = this.#inReach(grown)
      const atHand = inReach - grown.elsewhere
      const isWorthWaiting = inReach >= waiter.most || (atHand < waiter.least && inReach >= waiter.least)
      if (now() < until && (isWorthWaiting || polls < recallPolls)) await this.#serveBeside(waiter, inReach)
      else {
        this.#noRecallBeforeMs = now() + recallAgainMs
        return grown
      }
    }
  }

  /** Calls that leave the first one all that it waits for need not wait with it. */
  async #serveBeside(first: Waiter, inReach: NanoUsd): Promise<void> {
    let room = inReach - (inReach < first.most ? first.least : first.most)
    for (const waiter of this.#waiters.slice(1)) {
      if (waiter.most > room) continue
      if (!this.#has(waiter.most)) await this.#grow(waiter.most, waiter.most)
      if (!this.#has(waiter.most)) continue
      room -= waiter.most
      this.#waiters.splice(this.#waiters.indexOf(waiter), 1)
      waiter.admitted(this.#take(waiter.most))
    }
  }

  async #giveBack(): Promise<void> {
    this.#recalled = false
    if (this.#ended) this.#ends += 1
    // What nobody here knows of may be what another node needs
    if (this.#doubtful && !(await this.#read())) return
    const idle = available(this.#wallet)
    const spare = addUsd(idle, this.#outlived)
    if (spare <= 0n) return
    // Set aside first: a call that comes meanwhile must not spend what is on its way back
    this.#wallet.granted = subtractUsd(this.#wallet.granted, idle)
    this.#outlived = zeroUsd
    try {
      const arrived = await returnLease(this.#parts.database, this.#lease, spare, this.#movement)
      if (arrived) this.#movement += 1
      else this.#doubtful = true
    } catch (error) {
      // Whether it arrived is not known: it stays aside, and the next trip tells what the lease holds
      this.#doubtful = true
      this.#parts.onError('idle credit could not be handed back; it stays reserved until the lease is next read', error)
    }
  }

  /** Not while usage of this lease is still on its way to the database; the next tidying tries again. */
  async #close(): Promise<void> {
    const closed = await closeSettledLease(this.#parts.database, this.#lease).catch(() => false)
    if (closed && this.#wallet.held === 0n) this.#forget()
    else this.#doubtful = true
  }
}

// A random UUID of ours is what a lease id is.
const newLease = (): LeaseId => randomUUID() as unknown as LeaseId
