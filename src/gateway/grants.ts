/**
 * The grants that this node remembers, and the promise that a revoked key is refused within one second.
 *
 * A grant is answered from memory only while the node has heard from the database within `freshMs`: it reads the ordered
 * list of changes every `pollMs`, and sooner when notified. When that is late (a notification lost, a process paused, the
 * database away) every call reads the database, and fails where it cannot. A fill that began before a change is thrown
 * away, so that no slow read can bring a revoked key back.
 */
import { LRUCache } from 'lru-cache'
import { apiError } from '#contract/errors.ts'
import type { Grant } from '#core/grant.ts'
import { within } from '#core/within.ts'
import { type AuthEvent, authEventsAfter, authEventsMax, newestAuthEvent } from '#storage/auth-events.ts'
import type { Database } from '#storage/database.ts'
import type { ToldTime } from '#storage/database-clock.ts'
import { findGrant } from '#storage/grants.ts'
import { inRounds } from './in-rounds.ts'

export type GrantSettings = {
  readonly grantsMax: number
  /** The bound within which a revoked key is dead; a node that cannot keep it stops serving. */
  readonly freshMs: number
  readonly pollMs: number
}

/** A remembered answer; `grant` is undefined for a hash that no key has. */
type Remembered = { readonly grant: Grant | undefined }

/** A read may be shared by calls that come this soon after it began. */
const sharedMs = 50
/** How often a read that changes keep overtaking is begun anew. */
const readsMax = 5

/** Shorter than what other statements may take: a call waits for it, and a node that hears nothing must notice. */
const readMsMax = 1_000

/** Whoever changed something waits no longer for this node to hear of it. */
const learnMsMax = 500

export type GrantChange = (event: AuthEvent) => void

export class Grants {
  readonly #database: Database
  readonly #settings: GrantSettings
  readonly #now: () => number
  readonly #remembered: LRUCache<string, Remembered>
  readonly #fills = new Map<string, { startedAtMs: number; grant: Promise<Grant | undefined> }>()
  readonly #listeners: GrantChange[] = []
  readonly #clockListeners: ((told: ToldTime) => void)[] = []
  #lastEvent = -1n
  #freshAtMs = Number.NEGATIVE_INFINITY
  /** Counts the changes heard of, whatever they concern: a fill that spans one is not remembered. */
  #changes = 0

  /** @param now milliseconds of a monotonic clock that goes on while the process is stopped */
  constructor(database: Database, settings: GrantSettings, now: () => number) {
    this.#database = database
    this.#settings = settings
    this.#now = now
    this.#remembered = new LRUCache({ max: settings.grantsMax })
  }

  get fresh(): boolean {
    return this.#now() - this.#freshAtMs < this.#settings.freshMs
  }

  /** Milliseconds since the node last knew all changes. */
  get stalenessMs(): number {
    return this.#now() - this.#freshAtMs
  }

  get size(): number {
    return this.#remembered.size
  }

  onChange(listener: GrantChange): void {
    this.#listeners.push(listener)
  }

  /** Each answer to a poll says what time it is at the database. */
  onTime(listener: (told: ToldTime) => void): void {
    this.#clockListeners.push(listener)
  }

  /**
   * The grant of the key with this hash, at once where it is remembered and the node is fresh.
   * @param beforeRead is called before the database is asked for a key that is not remembered, and may throw
   * @throws ApiError storage_unavailable when the database must be asked and cannot be
   */
  find(secretHash: Buffer, beforeRead?: () => void): Grant | undefined | Promise<Grant | undefined> {
    const id = secretHash.toString('latin1')
    const remembered = this.#remembered.get(id)
    if (remembered && this.fresh) return remembered.grant
    if (!remembered?.grant) beforeRead?.()
    return this.#fill(id, secretHash)
  }

  /** Calls that come at the same moment share one read; a read that is older than `sharedMs` is not joined. */
  #fill(id: string, secretHash: Buffer): Promise<Grant | undefined> {
    const under = this.#fills.get(id)
    if (under && this.#now() - under.startedAtMs < sharedMs) return under.grant
    const grant = this.#read(id, secretHash).finally(() => {
      if (this.#fills.get(id)?.grant === grant) this.#fills.delete(id)
    })
    this.#fills.set(id, { startedAtMs: this.#now(), grant })
    return grant
  }

  async #read(id: string, secretHash: Buffer): Promise<Grant | undefined> {
    for (let attempt = 1; attempt <= readsMax; attempt += 1) {
      const startedAtMs = this.#now()
      const changesBefore = this.#changes
      const grant = await within(readMsMax, findGrant(this.#database, secretHash)).catch(cause => {
        throw apiError('storage_unavailable', undefined, { cause })
      })
      // An answer that took longer than the bound, or that a change overtook, may be of yesterday: ask again
      if (this.#now() - startedAtMs >= this.#settings.freshMs || changesBefore !== this.#changes) continue
      if (this.fresh) this.#remembered.set(id, { grant })
      return grant
    }
    throw apiError('storage_unavailable')
  }

  /** Reads what has changed since last time. One at a time; all who come while one is under way wait for one new one. */
  readonly poll = inRounds(() => this.#readEvents())

  /**
   * Resolves when this node knows all that was changed by now, for whoever is to be told that it is done. Where it cannot learn
   * that, it answers nothing from memory until it can.
   */
  async learnChanges(): Promise<void> {
    await within(learnMsMax, this.poll()).catch(() => {
      this.#freshAtMs = Number.NEGATIVE_INFINITY
    })
  }

  async #readEvents(): Promise<void> {
    if (this.#lastEvent < 0n) {
      this.#lastEvent = await within(readMsMax, newestAuthEvent(this.#database))
      this.#forgetAll()
    }
    // Freshness counts from before the question: what changed while it travelled may not be in the answer
    const askedAtMs = this.#now()
    const { events, toldAtMs } = await within(readMsMax, authEventsAfter(this.#database, this.#lastEvent))
    const told = { askedAtMs, answeredAtMs: this.#now(), toldAtMs }
    for (const listener of this.#clockListeners) listener(told)
    if (events.length > authEventsMax) {
      this.#lastEvent = await within(readMsMax, newestAuthEvent(this.#database))
      this.#apply({ id: this.#lastEvent, subject_kind: 'everything', subject_id: '' })
    } else for (const event of events) this.#apply(event)
    this.#freshAtMs = askedAtMs
  }

  #apply(event: AuthEvent): void {
    this.#changes += 1
    this.#lastEvent = event.id
    if (event.subject_kind === 'everything') this.#forgetAll()
    else if (event.subject_kind !== 'catalogue') this.#forget(event)
    for (const listener of this.#listeners) listener(event)
  }

  #forgetAll(): void {
    this.#changes += 1
    this.#remembered.clear()
  }

  /** Unknown hashes are forgotten with every change: one of them may be the key that was just made. */
  #forget({ subject_kind, subject_id }: AuthEvent): void {
    for (const [id, { grant }] of this.#remembered.entries()) {
      const concerned =
        grant === undefined ||
        grant.keyId === subject_id ||
        (subject_kind === 'project' && grant.projectId === subject_id) ||
        (subject_kind === 'organization' && grant.organizationId === subject_id)
      if (concerned) this.#remembered.delete(id)
    }
  }
}
