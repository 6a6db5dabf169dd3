/** A node of the simulation: the real wallets, a journal in memory, and a line to the database that can be disturbed. */
import { nanoUsd } from '#core/money.ts'
import type { Period } from '#core/spending.ts'
import { Wallets } from '#gateway/wallets.ts'
import type { Database, Queryable } from '#storage/database.ts'
import { closeLeasesOf } from '#storage/leases.ts'
import { heartbeat, leaveCluster } from '#storage/nodes.ts'
import { settleUsageRecords } from '#storage/usage.ts'
import type { Clock } from './clock.ts'
import type { Budget, Used } from './oracle.ts'
import { usageRecord } from './record.ts'
import type { Steps, Trouble } from './steps.ts'

type Order = Steps['deliver']['order']

/** What a statement meets with that does not get there, or does not come back. */
export class LineCut extends Error {}

/** The limits that a node knows of, by scope; of a key with the period of its budget. */
export type KnownLimits = { readonly monthly: ReadonlySet<string>; readonly budgets: ReadonlyMap<string, Period> }

export type NodeParts = {
  readonly id: string
  readonly database: Database
  readonly clock: Clock
  readonly leaseNanoUsdMax: bigint
  /** How far its clock is ahead of the database's. */
  readonly skewMs: number
  /** Records that the database has taken, whether or not the node hears of it. */
  onSettled(ids: readonly string[]): void
  /** It has asked for what others can spare of this scope's account. */
  onRecall(scope: string): void
  onBug(what: string): void
}

const recall = 'select recall_leases($1)'
/** No timer of the wallets' own runs in the simulation: tidying is a step. */
const neverMs = 2 ** 31 - 1

export class SimulatedNode {
  readonly parts: NodeParts
  state: 'runs' | 'frozen' | 'down' = 'down'
  hearsRecalls = true
  known: KnownLimits = { monthly: new Set(), budgets: new Map() }
  wallets: Wallets
  readonly database: Database
  readonly troubles: Trouble[] = []
  /** Statements that were given up and will arrive all the same. */
  readonly late: (() => Promise<unknown>)[] = []
  #journal: Used[] = []
  readonly #delivered: Used[] = []
  #swept = true
  #delivering: Promise<unknown> = Promise.resolve()

  constructor(parts: NodeParts) {
    this.parts = parts
    this.database = this.#disturbed()
    this.wallets = this.#newWallets()
  }

  get now(): number {
    return this.parts.clock.wallMs + this.parts.skewMs
  }

  /** It has handed back everything, or so it must have. */
  stopped = false

  /** Nothing of it gets lost, and it hears what others need. */
  get isWell(): boolean {
    return (
      this.state === 'runs' && this.hearsRecalls && this.troubles.length === 0 && this.late.length === 0 && this.#swept
    )
  }

  get waiting(): number {
    return this.#journal.length
  }

  append(used: Used): void {
    this.#journal.push(used)
  }

  /** One delivery at a time, as the journal does it. False when the database could not be reached. */
  deliver(most: number, order: Order): Promise<boolean> {
    const delivered = this.#delivering.then(() => this.#deliverNow(most, order))
    this.#delivering = delivered
    return delivered
  }

  async #deliverNow(most: number, order: Order): Promise<boolean> {
    const batch = this.#journal.slice(0, most)
    const records = order === 'with old ones' ? [...this.#delivered.slice(-most), ...batch] : [...batch]
    if (order === 'reversed') records.reverse()
    if (records.length === 0) return true
    if (!(await this.#settle(records))) return false
    const done = new Set(batch)
    this.#journal = this.#journal.filter(used => !done.has(used))
    this.#delivered.push(...batch)
    return true
  }

  /** What was given up long ago may open a lease that nobody knows of, until the node next looks for such. */
  async arrive(): Promise<void> {
    if (this.late.length === 0) return
    this.#swept = false
    await Promise.all(this.late.splice(0).map(arrive => arrive()))
  }

  async tidy(): Promise<void> {
    const isDisturbed = this.troubles.length > 0
    await this.wallets.tidy()
    if (!isDisturbed) this.#swept = true
  }

  /** Everything that this node ever delivered, once more. */
  replay(): Promise<boolean> {
    return this.#delivered.length === 0 ? Promise.resolve(true) : this.#settle(this.#delivered)
  }

  /** As a real start: first the journal, then the leases that nothing in it speaks for, then its word that it runs. */
  async start(): Promise<boolean> {
    const { id } = this.parts
    if (!(await this.deliver(this.#journal.length, 'in order'))) return false
    if (!(await this.#reach(closeLeasesOf(this.database, id)))) return false
    if (!(await this.#reach(heartbeat(this.database, id, 'simulated')))) return false
    this.wallets = this.#newWallets()
    this.state = 'runs'
    this.stopped = false
    return true
  }

  /** Only when no call of it is in flight. False when it could not finish; it is down all the same. */
  async stop(): Promise<boolean> {
    this.state = 'down'
    try {
      if (!(await this.deliver(this.#journal.length, 'in order'))) return false
      if (!(await this.#reach(this.wallets.close()))) return false
      const left = await this.#reach(leaveCluster(this.database, this.parts.id))
      // What is late on its way may reserve something once more, for the job that takes back leases
      this.stopped = left && this.late.length === 0
      return left
    } finally {
      this.wallets.abandon()
    }
  }

  /** It stands still, and says nothing. */
  freeze(): void {
    this.state = 'frozen'
  }

  wake(): void {
    this.state = 'runs'
    this.hearsRecalls = true
  }

  deafen(): void {
    this.hearsRecalls = false
  }

  disturb(trouble: Trouble, statements: number): void {
    for (let number = 0; number < statements; number += 1) this.troubles.push(trouble)
  }

  crash(): void {
    this.state = 'down'
    this.wallets.abandon()
    this.late.length = 0
  }

  async beat(): Promise<void> {
    const { id } = this.parts
    const work = heartbeat(this.database, id, 'simulated').then(({ lost }) => {
      if (lost) this.wallets.doubtLeases()
    })
    if (await this.#reach(work)) this.state = 'runs'
  }

  async #settle(records: readonly Used[]): Promise<boolean> {
    const texts = records.map(used => usageRecord(used))
    const rejected = async (record: string, cause: unknown): Promise<void> =>
      this.parts.onBug(`the database will never take ${record}: ${cause}`)
    return this.#reach(settleUsageRecords(this.database, texts, rejected))
  }

  /** False when the line was cut; anything else that fails is a bug. */
  async #reach(work: Promise<unknown>): Promise<boolean> {
    try {
      await work
      return true
    } catch (error) {
      if (!(error instanceof LineCut)) this.parts.onBug(`node ${this.parts.id} met with: ${error}`)
      return false
    }
  }

  #newWallets(): Wallets {
    const { clock, leaseNanoUsdMax, id, onBug } = this.parts
    return new Wallets(
      {
        database: this.database,
        node: id,
        leaseNanoUsdMax: nanoUsd(leaseNanoUsdMax),
        now: () => clock.monotonicMs,
        sleep: clock.sleep,
        onError(message, error) {
          if (!(error instanceof LineCut)) onBug(`${message}: ${error}`)
        },
      },
      neverMs,
    )
  }

  #disturbed(): Database {
    const { database, clock, onSettled, onRecall } = this.parts
    const run: Queryable['query'] = (statement, values = []) =>
      clock.track(async () => {
        const rows = await database.query<never>(statement, values)
        if (statement.name === 'settle_usage') onSettled(idsIn(values))
        if (statement.text === recall) onRecall(String(values[0]))
        return rows
      })
    return {
      ...database,
      query: async (statement, values) => {
        const trouble = this.troubles.shift()
        if (trouble === 'request lost') throw new LineCut(trouble)
        if (trouble === 'request late') {
          this.late.push(() => run(statement, values))
          throw new LineCut(trouble)
        }
        const rows = await run<never>(statement, values)
        if (trouble) throw new LineCut(trouble)
        return rows
      },
    }
  }
}

function idsIn([batch]: readonly unknown[]): string[] {
  // What this node itself wrote a moment ago.
  return (JSON.parse(batch as string) as { id: string }[]).map(({ id }) => id)
}

export const periodsOf = (budgets: ReadonlyMap<string, Budget>): Map<string, Period> =>
  new Map([...budgets].map(([key, { period }]) => [key, period]))
