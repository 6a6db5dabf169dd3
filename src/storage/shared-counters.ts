/**
 * Rate-limit counters that several nodes share in Redis: one round trip a call, in which the corrections of earlier calls travel
 * along. When Redis does not answer, each node gives out its share of every limit from memory. Never is more given out than
 * the limits allow, whatever is cut from whatever and comes back:
 *
 * - A node is a member in Redis for a second at a time (`memberMs`), and renews that. While it is not, the others leave it its
 *   share. It begins to give out its share alone only when its membership has ended for certain, from an empty bucket: how
 *   much the others took meanwhile it cannot know. Calls that come in between wait, since nothing says that they are too many.
 * - Before it joins again it tells what it gave out alone, so that the rest of the limits is there at once, and what it last saw of
 *   each counter, so that a Redis that lost its memory has it back. Until all nodes have joined, such a Redis gives out no more
 *   than a bucket gives that was empty when that Redis began.
 * - A correction that gives something back is lost rather than made twice; one that takes is made twice rather than lost.
 *
 * What it does not promise: slots (concurrent requests) of calls that began before a cut are known to their own node alone
 * until they end; for the seconds in which nodes disagree on how many they are, because one came or went, their shares may
 * add up to more; and a node that is lost together with the memory of Redis takes what only it knew along.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Trouble } from '#contract/troubles.ts'
import {
  type Counters,
  type Limit,
  type LocalCounters,
  memoryCounters,
  type Outcome,
  type Refused,
  Slots,
  type Taken,
} from './counters.ts'
import { NodeKnowledge } from './node-knowledge.ts'
import { type Correction, type HeldSlot, type RedisCharge, RedisLink, type TakeReply } from './redis-link.ts'

/** How many nodes share the limits, and which of them this is, from 0. */
export type Nodes = { readonly count: number; readonly rank: number }

export type SharedOptions = {
  readonly redisUrl: string
  nodes(): Nodes
  /** Milliseconds of a clock that never goes back. */
  now(): number
  /** Hears when Redis is lost, once. */
  readonly away: Trouble
  /** A slot that its node does not renew is free again after this. */
  readonly slotMs?: number
}

export type SharedCounters = Counters & {
  /** Where limits are taken now. */
  readonly mode: 'redis' | 'alone'
  /** Round trips to Redis so far. */
  readonly trips: number
  close(): Promise<void>
}

/** How long a node that says nothing is still counted in. */
const memberMs = 1_000
const renewEveryMs = 250
/** In a row: then Redis is away. */
const failuresMax = 3
/** How often a Redis that is away is tried again. */
export const retryMs = 1_000
/** A call waits so long while it is not known whether it fits: longer than it takes to be alone for certain. */
const patienceMs = memberMs + 500
/** So long after that its share is hardly more than empty, and no reason to refuse anybody. */
const emptyMs = 500
/** Corrections wait this long for a call to travel with. */
const flushMs = 5
const slotMsDefault = 30_000
/** How often in that time it is renewed. */
const slotRenewals = 3
/** Corrections that can be sent with one call; the rest waits for the next. */
const correctionsAtOnceMax = 100
/** Of those that wait; beyond it those that give back are dropped. */
const correctionsMax = 10_000

/**
 * What a node may give out of a limit when it is alone: together, all shares are the limit, to the last one.
 */
export const shareOf = (limit: number, { count, rank }: Nodes): number =>
  Math.floor(limit / count) + (rank < limit % count ? 1 : 0)

export async function sharedCounters(options: SharedOptions): Promise<SharedCounters> {
  const counters = new Shared(options)
  await counters.start()
  return counters
}

type Asked = { readonly limits: readonly Limit[]; readonly costs: readonly number[]; readonly waitsTillMs: number }

class Shared implements SharedCounters {
  readonly local: LocalCounters
  readonly #options: SharedOptions
  /** Of this process, not of the machine: one that is started again does not inherit what the other one knew. */
  readonly #node = randomUUID()
  readonly #slots: Slots
  readonly #slotMs: number
  readonly #knowledge = new NodeKnowledge()
  #corrections: Correction[] = []
  #link: RedisLink | undefined
  #alone!: LocalCounters
  #era = 0
  #failures = 0
  /** By this node's clock: until then others count this node in, at the most. */
  #memberTillMs: number
  /** By this node's clock: until then nothing is given out alone, or hardly anything. */
  #emptyTillMs = 0
  /** How far Redis's clock is ahead of this node's, at the least. */
  #redisAheadMs = 0
  #slotsRenewedAtMs = 0
  #closed = false
  #joining: Promise<void> | undefined
  #comingBack: Promise<void> | undefined
  /** It tells what it gave out alone, and must give out nothing that it has not told. */
  #telling = false
  #flush: NodeJS.Timeout | undefined
  #renew: NodeJS.Timeout | undefined
  #retry: NodeJS.Timeout | undefined
  #tripsBefore = 0

  constructor(options: SharedOptions) {
    this.#options = options
    this.#slotMs = options.slotMs ?? slotMsDefault
    this.local = memoryCounters(options.now)
    this.#slots = new Slots(`${this.#node} `)
    this.#memberTillMs = options.now()
    this.#beAlone()
  }

  async start(): Promise<void> {
    await this.#join()
    this.#renew = setInterval(() => void this.#stay(), renewEveryMs).unref()
  }

  get mode(): 'redis' | 'alone' {
    return this.#link ? 'redis' : 'alone'
  }

  get trips(): number {
    return this.#tripsBefore + (this.#link?.trips ?? 0)
  }

  take(limits: readonly Limit[], costs: readonly number[]): Outcome | Promise<Outcome> {
    return this.#take({ limits, costs, waitsTillMs: this.#options.now() + patienceMs })
  }

  #take(call: Asked): Outcome | Promise<Outcome> {
    if (this.#link) return this.#takeShared(this.#link, call)
    if (this.#telling && this.#joining) return this.#joining.then(() => this.#take(call))
    return this.#takeAlone(call)
  }

  /** Where it is not known that a call is too many. */
  #askAgain(call: Asked, refused: Refused): Outcome | Promise<Outcome> {
    const { waitMs } = refused
    if (this.#closed || this.#options.now() + waitMs > call.waitsTillMs) return refused
    return sleep(waitMs).then(() => this.#take(call))
  }

  adjust(limit: Limit, delta: number, taken: Taken): void {
    const sameEra = taken.era === this.#era
    if (!sameEra && delta < 0) return
    if (!this.#link) this.#alone.adjust(limit, delta, taken)
    if (!this.#link && sameEra) this.#knowledge.gave(limit, delta)
    if (this.#link || !sameEra || (this.#telling && delta > 0)) this.#correct({ ...limit, delta, slot: '' })
  }

  free(limit: Limit, { slot }: Taken): void {
    if (!this.#slots.free(limit.counter, slot)) return
    if (this.#link) this.#correct({ ...limit, delta: -1, slot })
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#renew)
    clearTimeout(this.#retry)
    clearTimeout(this.#flush)
    await this.#joining?.catch(() => undefined)
    const link = this.#link
    if (!link) return
    await this.#send(link)
    await link.leave(this.#node).catch(() => undefined)
    this.#link = undefined
    link.close()
  }

  async #takeShared(link: RedisLink, asked: Asked, isLate = false): Promise<Outcome> {
    const { limits, costs } = asked
    const charges = limits.map((limit, index) => ({ ...limit, cost: costs[index] ?? 0 }))
    const holdsSlot = charges.some(({ periodMs, cost }) => periodMs === 0 && cost > 0)
    const call = { slot: holdsSlot ? this.#slots.newName() : '', era: this.#era }
    try {
      const reply = await this.#ask(link, charges, call.slot)
      if (reply.refused >= 0) return this.#outcomeOf(charges, reply, call)
      if (isLate) throw new Error('this node is too slow to stay a member in Redis')
      await this.#comeBack(link)
      return await this.#takeShared(link, asked, true)
    } catch (error) {
      if (this.#link === link) this.#failed(error)
      return this.#link ? this.#askAgain(asked, this.#notNow(limits)) : this.#takeAlone(asked)
    }
  }

  async #ask(link: RedisLink, charges: readonly RedisCharge[], slot: string): Promise<TakeReply> {
    const corrections = this.#takeCorrections()
    try {
      const reply = await link.take(this.#asker(), charges, corrections, { slot, slotMs: this.#slotMs })
      if (reply.refused < 0) this.#corrections.push(...corrections)
      else this.#failures = 0
      this.#knowledge.learn(charges, reply, this.#options.now())
      return reply
    } catch (error) {
      // Those that give back may have been made
      this.#corrections.push(...corrections.filter(({ delta }) => delta > 0))
      throw error
    }
  }

  #outcomeOf(charges: readonly RedisCharge[], reply: TakeReply, call: Pick<Taken, 'slot' | 'era'>): Outcome {
    const { atMs, levels, refused, waitMs } = reply
    if (refused > 0) {
      return { fits: false, atMs, levels, index: refused - 1, waitMs: waitMs < 0 ? Number.POSITIVE_INFINITY : waitMs }
    }
    for (const { counter, periodMs, cost } of charges) {
      if (periodMs === 0 && cost > 0) this.#slots.hold(counter, call.slot)
    }
    return { fits: true, atMs, levels, ...call }
  }

  /** One answer was late, and others still count this node in: it can give out nothing of its own. */
  #notNow(limits: readonly Limit[]): Refused {
    const atMs = this.#options.now()
    const levels = limits.map(({ limit, periodMs }) => (periodMs === 0 ? limit : atMs + periodMs))
    return { fits: false, atMs, levels, index: 0, waitMs: askAgainMs }
  }

  #takeAlone(asked: Asked): Outcome | Promise<Outcome> {
    const { limits, costs } = asked
    const outcome = this.#alone.take(limits, costs)
    for (const [index, limit] of limits.entries()) {
      this.#knowledge.remember(limit, outcome.atMs)
      if (outcome.fits) this.#knowledge.gave(limit, costs[index] ?? 0)
    }
    if (outcome.fits) return outcome
    const { limit = 0 } = limits[outcome.index] ?? {}
    // More than a share is not more than the limit: with Redis it may fit
    const mayFitLater = outcome.waitMs === Number.POSITIVE_INFINITY && (costs[outcome.index] ?? 0) <= limit
    const refused = mayFitLater ? { ...outcome, waitMs: retryMs } : outcome
    return outcome.atMs < this.#emptyTillMs ? this.#askAgain(asked, refused) : refused
  }

  #asker() {
    return { node: this.#node, count: this.#options.nodes().count }
  }

  #correct(correction: Correction): void {
    if (this.#corrections.length < correctionsMax || correction.delta > 0) this.#corrections.push(correction)
    this.#flush ??= setTimeout(() => {
      this.#flush = undefined
      const link = this.#link
      if (link) void this.#send(link)
    }, flushMs)
  }

  #takeCorrections(): Correction[] {
    const some = this.#corrections.slice(0, correctionsAtOnceMax)
    this.#corrections = this.#corrections.slice(correctionsAtOnceMax)
    return some
  }

  async #send(link: RedisLink): Promise<void> {
    try {
      while (this.#corrections.length > 0) {
        const { refused } = await this.#ask(link, [], '')
        if (refused < 0) return
      }
    } catch (error) {
      if (this.#link === link) this.#failed(error)
    }
  }

  #failed(error: unknown): void {
    this.#failures += 1
    if (this.#failures >= failuresMax || isRefusal(error)) this.#lost(error)
  }

  #lost(error: unknown): void {
    this.#options.away.began(error)
    this.#leave()
    this.#tryLater()
  }

  #leave(): void {
    if (!this.#link) return
    this.#tripsBefore += this.#link.trips
    this.#link.close()
    this.#link = undefined
    this.#failures = 0
    this.#beAlone()
    const owed = this.#corrections.filter(({ delta }) => delta > 0)
    this.#corrections = owed
    for (const correction of owed) this.#alone.adjust(correction, correction.delta, nobody)
  }

  /** From an empty bucket, which begins to fill when this node is no longer counted in. */
  #beAlone(): void {
    const { now, nodes } = this.#options
    const fromMs = Math.max(now(), this.#memberTillMs)
    this.#era += 1
    this.#emptyTillMs = fromMs + emptyMs
    this.#knowledge.beAlone(fromMs, now())
    this.#alone = memoryCounters(now, {
      levels: this.#knowledge.given,
      slots: this.#slots,
      firstTat: periodMs => fromMs + periodMs,
      shareOf: limit => shareOf(limit, nodes()),
      era: this.#era,
    })
  }

  #tryLater(): void {
    if (this.#closed || this.#retry) return
    this.#retry = setTimeout(() => {
      this.#retry = undefined
      void this.#join()
    }, retryMs)
  }

  /** Never throws: when it does not work, it is tried again. */
  #join(): Promise<void> {
    this.#joining ??= this.#openAndJoin()
      .catch(error => this.#lost(error))
      .finally(() => {
        this.#joining = undefined
      })
    return this.#joining
  }

  async #openAndJoin(): Promise<void> {
    if (this.#link || this.#closed) return
    const link = await RedisLink.open(this.#options.redisUrl, error => {
      if (this.#link === link) this.#lost(error)
    })
    try {
      this.#redisAheadMs = (await link.time()) - this.#options.now()
      this.#telling = true
      await this.#tellAndJoin(link)
      this.#joined(link)
    } catch (error) {
      link.close()
      // Redis may count this node in all the same
      if (this.#memberTillMs > this.#options.now()) this.#beAlone()
      throw error
    } finally {
      this.#telling = false
    }
  }

  /** @throws Error when Redis answers too late for that */
  async #tellAndJoin(link: RedisLink): Promise<void> {
    const nodes = this.#options.nodes()
    const told = this.#knowledge.told(limit => shareOf(limit, nodes), this.#options.now())
    await link.tell(this.#asker(), told)
    if (!(await this.#isMember(link, true))) throw new Error('Redis answers too slowly for this node to join')
  }

  /**
   * Redis does not count this node in: it was late, because its process stood still, and has given out nothing meanwhile; or Redis
   * was emptied, and knows of no call.
   */
  #comeBack(link: RedisLink): Promise<void> {
    this.#comingBack ??= this.#tellAndJoin(link).finally(() => {
      this.#comingBack = undefined
    })
    return this.#comingBack
  }

  #joined(link: RedisLink): void {
    this.#link = link
    this.#knowledge.wasTold()
    this.#era += 1
    this.#failures = 0
    this.#options.away.over()
  }

  async #stay(): Promise<void> {
    const link = this.#link
    if (!link) return
    try {
      if (!(await this.#isMember(link, false))) await this.#comeBack(link)
    } catch (error) {
      if (this.#link === link) this.#failed(error)
    }
  }

  /** Until when is said by Redis's own clock, which this node may take for slower than it is: never for faster. */
  async #isMember(link: RedisLink, joins: boolean): Promise<boolean> {
    const now = this.#options.now()
    const slotsAreDue = joins || now - this.#slotsRenewedAtMs >= this.#slotMs / slotRenewals
    const till = now + this.#redisAheadMs + memberMs
    // Asked is as good as answered: a question that was late may have been heard
    this.#memberTillMs = now + memberMs
    const slots = slotsAreDue ? this.#heldSlots() : []
    const { member, atMs } = await link.stay(this.#asker(), { till, joins, slotMs: this.#slotMs }, slots)
    this.#redisAheadMs = atMs - this.#options.now()
    this.#failures = 0
    if (slotsAreDue) this.#slotsRenewedAtMs = now
    return member
  }

  #heldSlots(): HeldSlot[] {
    return [...this.#slots.entries()].flatMap(([counter, held]) => [...held].map(slot => ({ counter, slot })))
  }
}

/** One that answers, but takes no writes (out of memory, a replica, a full disk), is not late: waiting for it helps nobody. */
const isRefusal = (error: unknown): boolean => error instanceof Error && error.name === 'ReplyError'

/** After one late answer the next is likely in time. */
const askAgainMs = 200
const nobody: Taken = { fits: true, atMs: 0, levels: [], era: -1, slot: '' }
