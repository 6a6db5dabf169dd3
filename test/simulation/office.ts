/** Everybody but the nodes: people who change credit and limits, and the jobs. */
import { nanoUsd } from '#core/money.ts'
import { expireCredit } from '#storage/credit-expiry.ts'
import { grantCredit, revokeCredit } from '#storage/credits.ts'
import { type Database, type Queryable, sql } from '#storage/database.ts'
import { deleteKeyBudget, setKeyBudget } from '#storage/key-budgets.ts'
import { deleteClosedLeases } from '#storage/leases.ts'
import { closeLease, leasesOfLostNodes, markLostNodes } from '#storage/lost-nodes.ts'
import { deleteSpendLimit, setSpendLimit } from '#storage/spend-limits.ts'
import type { Clock } from './clock.ts'
import type { Oracle } from './oracle.ts'
import type { Place } from './place.ts'
import { type Steps, unit } from './steps.ts'

export const lostAfterMinutes = 10

export class Office {
  readonly #database: Database
  readonly #clock: Clock
  readonly #oracle: Oracle
  readonly #place: Place
  /** A limit was changed, and its nodes hear of it. */
  readonly #onHeard: (scope: string) => void
  #grants = 0
  /** Limits are changed one after the other, however many are asked for at once. */
  #edits: Promise<unknown> = Promise.resolve()
  #edited = false

  constructor(database: Database, clock: Clock, oracle: Oracle, place: Place, onHeard: (scope: string) => void) {
    this.#database = tracked(database, clock)
    this.#clock = clock
    this.#oracle = oracle
    this.#place = place
    this.#onHeard = onHeard
  }

  /** Whether a limit was changed since this was last asked. */
  takeEdited(): boolean {
    const edited = this.#edited
    this.#edited = false
    return edited
  }

  async grant({ amount, lastsMs, priority }: Steps['grant']): Promise<void> {
    const id = `cg_${this.#place.name}_${this.#grants++}`
    const endsAtMs = lastsMs === null ? null : this.#clock.wallMs + lastsMs
    const draft = {
      id,
      organizationId: this.#place.organization,
      kind: 'purchased' as const,
      amount: nanoUsd(BigInt(amount) * unit),
      priority,
      expiresAt: endsAtMs === null ? null : new Date(endsAtMs),
      reference: id,
      note: null,
    }
    await this.#database.transaction(tx => grantCredit(tx, draft))
    this.#oracle.grants.set(id, { amount: draft.amount, endsAtMs, revoked: false })
  }

  async revoke({ grant: index }: Steps['revoke']): Promise<void> {
    const grants = [...this.#oracle.grants]
    const [id, grant] = grants[index % Math.max(1, grants.length)] ?? []
    if (!id || !grant) return
    grant.revoked = true
    await this.#database.transaction(tx => revokeCredit(tx, id))
  }

  expire(): Promise<unknown> {
    return expireCredit(this.#database, this.#place.organization)
  }

  async takeBack(): Promise<void> {
    for (const { id, node } of await leasesOfLostNodes(this.#database, lostAfterMinutes)) {
      // A world that failed has left its own behind, and shrinking tries again in the same database
      if (!node.startsWith(`node_${this.#place.name}_`)) continue
      this.#oracle.lost.add(id)
      await closeLease(this.#database, id)
    }
    await markLostNodes(this.#database, lostAfterMinutes)
  }

  trim(): Promise<unknown> {
    return deleteClosedLeases(this.#database, 1)
  }

  setLimit({ place, cents, heard }: Steps['limit']): Promise<void> {
    return this.#edit(heard, async () => {
      const scope = this.#place.scopeOf(place)
      const limit = cents === null ? null : BigInt(cents) * 1_000n * unit
      const isCap = place === 'usage tier'
      const kept = isCap ? this.#oracle.caps : this.#oracle.limits
      if (isCap) await this.#database.query(sql(setCap), [scope, limit])
      else if (cents === null) await deleteSpendLimit(this.#database, scope)
      else await setSpendLimit(this.#database, scope, cents)
      if (limit === null) kept.delete(scope)
      else kept.set(scope, limit)
      return scope
    })
  }

  setBudget({ key, amount, period, heard }: Steps['budget']): Promise<void> {
    return this.#edit(heard, async () => {
      const first = this.#place.firstKey(key)
      if (amount === null) {
        await this.#database.transaction(tx => deleteKeyBudget(tx, first))
        this.#oracle.budgets.delete(first)
      } else {
        const limit = nanoUsd(BigInt(amount) * unit)
        await this.#database.transaction(tx => setKeyBudget(tx, this.#place.key(key), { limit, period }))
        this.#oracle.budgets.set(first, { limit, period, setAtMs: this.#clock.wallMs })
      }
      return first
    })
  }

  #edit(heard: boolean, work: () => Promise<string>): Promise<void> {
    const edited = this.#edits.then(async () => {
      this.#edited = true
      const scope = await work()
      if (heard) this.#onHeard(scope)
    })
    this.#edits = edited
    return edited
  }
}

const setCap = 'update organizations set usage_cap_nano_usd = $2 where id = $1'

function tracked(database: Database, clock: Clock): Database {
  const query: Queryable['query'] = (statement, values) => clock.track(() => database.query(statement, values))
  return { ...database, query, transaction: work => clock.track(() => database.transaction(work)) }
}
