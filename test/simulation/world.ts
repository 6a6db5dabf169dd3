/**
 * An organization with two projects and three keys, and nodes that share one database: runs the steps of one history, and
 * looks after each whether everything that must be true is. What it finds wrong, it throws.
 */
import type { ApiError } from '#contract/errors.ts'
import type { ApiKeyId, OrganizationId, ProjectId } from '#contract/ids.ts'
import { nanoUsd } from '#core/money.ts'
import { accountsOf, type SpendAccount } from '#core/spending.ts'
import type { Hold } from '#gateway/wallets.ts'
import { expireCredit } from '#storage/credit-expiry.ts'
import { grantCredit, revokeCredit } from '#storage/credits.ts'
import { type Database, type Queryable, sql } from '#storage/database.ts'
import { deleteKeyBudget, setKeyBudget } from '#storage/key-budgets.ts'
import { closeLease, leasesOfLostNodes, markLostNodes } from '#storage/lost-nodes.ts'
import { deleteSpendLimit, setSpendLimit } from '#storage/spend-limits.ts'
import { audit, type Books, chargesOf, readBooks } from './books.ts'
import { Clock } from './clock.ts'
import type { SimulatedDatabase } from './database.ts'
import { periodsOf, SimulatedNode } from './node.ts'
import { type Held, Oracle, type Spender, windowName } from './oracle.ts'
import { randomOf } from './random.ts'
import { refusedWrongly } from './refusals.ts'
import { type Base, brokenRules, overdrafts } from './rules.ts'
import {
  keyCount,
  type LimitPlace,
  nodesMax,
  projectCount,
  type SingleStep,
  type Step,
  type StepKind,
  type Steps,
} from './steps.ts'

export class RuleBroken extends Error {}

type Flight = { readonly id: string; readonly node: SimulatedNode; readonly hold: Hold }

/** Thousandths of a cent, in nano-dollars. */
const unit = 10_000n
/** The middle of a day at the end of a month, so that days, weeks and months end soon. */
const startsAtMs = Date.UTC(2027, 0, 29, 23, 50)
const lostAfterMinutes = 10
const beatAfterMs = 60_000
const recallAgainMs = 1_000

export class World {
  readonly oracle: Oracle
  readonly #clock: Clock
  readonly #simulated: SimulatedDatabase
  /** Everybody but the nodes: people's changes, and jobs. */
  readonly #office: Database
  readonly #nodes: SimulatedNode[]
  readonly #name: string
  readonly #organization: OrganizationId
  readonly #base: Base
  #flights: Flight[] = []
  #number = 0
  readonly #bugs: string[] = []
  #recalls: string[] = []
  /** Limits are changed one after the other, however many are asked for at once. */
  #edits: Promise<unknown> = Promise.resolve()
  #limitsChanged = false
  #overdrafts: ReadonlyMap<string, bigint> = new Map()
  /** Charged since the last look to windows that no lease had covered. */
  #uncovered = new Map<string, bigint>()
  #alone = true
  /** Until when a node does not ask others again, by node and account. */
  readonly #patience = new Map<string, number>()
  #refusal: { node: SimulatedNode; account: string; least: bigint } | undefined

  static async open(simulated: SimulatedDatabase, seed: number, number: number, nodes?: number): Promise<World> {
    const random = randomOf(seed, -number)
    const clock = new Clock(startsAtMs + random.below(4 * 86_400_000), random.pick([20, 100, 250]))
    await simulated.setClock(clock.wallMs)
    const name = `w${(await nextName(simulated.database)).toString(16)}`
    await addOrganization(simulated.database, name)
    const { revenue, overrun } = await readBooks(simulated.database, [`org_${name}`], [])
    const world = new World(simulated, clock, name, { revenue, overrun })
    const nodeCount = nodes ?? 1 + random.below(nodesMax)
    for (let index = 0; index < nodeCount; index += 1) {
      const skewMs = random.chance(0.5) ? 0 : random.below(120_000) - 60_000
      world.#addNode(index, skewMs, unit * BigInt(2_000 + random.below(100_000)))
    }
    for (const node of world.#nodes) await clock.finish(node.start(), world.#tellRecalls)
    return world
  }

  private constructor(simulated: SimulatedDatabase, clock: Clock, name: string, base: Base) {
    this.#simulated = simulated
    this.#clock = clock
    this.#name = name
    this.#organization = `org_${name}` as OrganizationId
    this.#base = base
    this.#nodes = []
    this.#office = tracked(simulated.database, clock)
    this.oracle = new Oracle([this.#key(0), this.#key(2)])
  }

  async run(step: Step): Promise<void> {
    const steps = step.kind === 'together' ? step.steps : [step]
    this.#alone = step.kind !== 'together'
    this.#refusal = undefined
    await this.#finish(Promise.all(steps.map(each => this.#take(each))))
    await this.#look()
  }

  /** Lets everything end, and then looks at everything. */
  async end(): Promise<void> {
    await this.#settleDown()
    await this.#idle()
    const before = await this.#look()
    for (const node of this.#nodes) await this.#finish(node.replay())
    const after = await this.#look()
    if (same(before) !== same(after)) throw new RuleBroken('replaying every journal changed the books')
    for (const node of this.#nodes) if (!(await this.#succeeds(node.stop()))) this.#bugs.push('a node could not stop')
    await this.#finish(this.#wait((lostAfterMinutes + 1) * 60_000))
    await this.#finish(this.#takeBack())
    await this.#finish(expireCredit(this.#office, this.#organization))
    const books = await this.#look()
    const wrong = await audit(this.#simulated.database, this.#organization)
    if (books.leased !== 0n || books.leases.length > 0)
      wrong.push(`${books.leased} stay leased when every node has stopped`)
    if (books.windows.some(({ leased }) => leased !== 0n))
      wrong.push('a window stays leased when every node has stopped')
    const charges = await chargesOf(this.#simulated.database, this.#organization)
    for (const { id, cost, charged } of this.oracle.settled.values()) {
      const [paid, borne] = charges.get(id) ?? [-1n, -1n]
      if (paid !== charged || borne !== cost - charged) wrong.push(`call ${id} is charged ${paid} and ${borne}`)
    }
    if (wrong.length > 0) throw new RuleBroken(wrong.join('\n'))
  }

  async #settleDown(): Promise<void> {
    for (const node of this.#nodes) {
      node.troubles.length = 0
      await this.#finish(node.arrive())
      if (node.state === 'down') await this.#finish(node.start())
      else await this.#finish(node.beat())
      this.#hear(node)
    }
    for (const { id } of [...this.#flights]) this.#endFlight(id, 50)
    for (const node of this.#nodes) await this.#finish(node.deliver(node.waiting, 'in order'))
  }

  /** Nodes without a call hand back everything by themselves. */
  async #idle(): Promise<void> {
    for (let round = 0; round < 3; round += 1) {
      for (const node of this.#nodes) await this.#finish(node.tidy())
    }
    const { leases } = await this.#look()
    if (leases.length > 0)
      throw new RuleBroken(`idle nodes keep ${leases.map(lease => `${lease.open} of ${lease.account}`)}`)
  }

  async #succeeds(work: Promise<boolean>): Promise<boolean> {
    await this.#finish(work)
    return work
  }

  #finish(work: Promise<unknown>): Promise<void> {
    return this.#clock.finish(work, this.#tellRecalls)
  }

  readonly #tellRecalls = async (): Promise<boolean> => {
    const scopes = this.#recalls.splice(0)
    for (const node of this.#nodes) {
      if (node.state === 'runs' && node.hearsRecalls) for (const scope of scopes) node.wallets.recall(scope)
    }
    return scopes.length > 0
  }

  async #look(): Promise<Books> {
    const { oracle } = this
    const scopes = [this.#organization, this.#project(0), this.#project(1), ...oracle.keys]
    const books = await readBooks(this.#simulated.database, scopes, [...oracle.lost])
    const running = new Set(this.#nodes.filter(node => !node.stopped).map(({ parts }) => parts.id))
    const wrong = [
      ...this.#bugs.splice(0),
      ...brokenRules(oracle, books, this.#base, this.#clock.wallMs, running),
      ...this.#newOverdrafts(books),
      ...this.#wrongRefusal(books),
    ]
    if (wrong.length > 0) throw new RuleBroken(wrong.join('\n'))
    return books
  }

  /** A window gets beyond its limit by a change of the limit, or by usage that no lease covered. Never by a lease. */
  #newOverdrafts(books: Books): string[] {
    const before = this.#overdrafts
    const uncovered = this.#uncovered
    this.#overdrafts = overdrafts(this.oracle, books)
    this.#uncovered = new Map()
    const changed = this.#limitsChanged
    this.#limitsChanged = false
    if (changed) return []
    return [...this.#overdrafts]
      .filter(([name, over]) => over > (before.get(name) ?? 0n) + (uncovered.get(name) ?? 0n))
      .map(([name, over]) => `${name} is ${over} beyond its limit`)
  }

  #wrongRefusal(books: Books): string[] {
    const refusal = this.#refusal
    this.#refusal = undefined
    if (!refusal || !this.#alone || !this.#nodes.every(node => node.isWell)) return []
    const wrong = refusedWrongly(this.oracle, books, refusal)
    return wrong ? [wrong] : []
  }

  // Steps

  readonly #doers: { readonly [Kind in StepKind]: (step: Steps[Kind]) => unknown } = {
    call: step => this.#call(step),
    end: ({ call, share }) => this.#end(call, share),
    deliver: ({ node, records, order }) => this.#running(node)?.deliver(records, order),
    grant: step => this.#grant(step),
    revoke: ({ grant }) => this.#revoke(grant),
    expire: () => expireCredit(this.#office, this.#organization),
    wait: ({ ms }) => this.#wait(ms),
    limit: step => this.#setLimit(step),
    budget: step => this.#setBudget(step),
    hear: ({ node }) => this.#hear(this.#nodes[node]),
    deafen: ({ node }) => this.#deafen(node),
    beat: ({ node }) => this.#beat(node),
    tidy: ({ node }) => this.#running(node)?.tidy(),
    disturb: ({ node, trouble, statements }) =>
      this.#running(node)?.troubles.push(...Array.from({ length: statements }, () => trouble)),
    arrive: () => Promise.all(this.#nodes.map(node => node.arrive())),
    freeze: ({ node }) => this.#freeze(node),
    crash: ({ node }) => this.#crash(this.#running(node)),
    stop: ({ node }) => this.#stop(this.#running(node)),
    start: ({ node }) => this.#start(node),
    'take back': () => this.#takeBack(),
  }

  async #take(step: SingleStep): Promise<void> {
    // The doer of a kind takes what belongs to that kind.
    const doer = this.#doers[step.kind] as (step: Steps[StepKind]) => unknown
    await doer(step)
  }

  async #call({ node: index, key, most, least }: Steps['call']): Promise<void> {
    const node = this.#running(index)
    if (!node) return
    const id = this.#nextId()
    const spender = this.#spender(key)
    const beganAtMs = node.now
    const accounts = this.#accountsOf(node, spender, beganAtMs)
    const names = accounts.map(nameOf)
    const amounts = { most: nanoUsd(BigInt(most) * unit), least: nanoUsd(BigInt(least) * unit) }
    try {
      const reserved = node.wallets.reserve(accounts, amounts)
      const hold = reserved instanceof Promise ? await reserved : reserved
      if (hold.amount < amounts.least || hold.amount > amounts.most) this.#bugs.push(`a hold of ${hold.amount}`)
      const held: Held = { spender, key: this.#key(key), beganAtMs, amount: hold.amount, leases: leasesOf(names, hold) }
      this.oracle.held.set(id, held)
      this.#flights.push({ id, node, hold })
      if (hold.amount < amounts.most) this.#impatient(node, names)
    } catch (error) {
      this.#refused(node, names, amounts.least, error)
    }
  }

  #refused(node: SimulatedNode, names: readonly string[], least: bigint, error: unknown): void {
    const { errorCode, cause } = error as ApiError
    const place = refusedPlaces[errorCode ?? '']
    if (place === undefined) {
      this.#impatient(node, names)
      if (errorCode !== 'storage_unavailable' || !isCut(cause)) this.#bugs.push(`a call failed: ${error} (${cause})`)
      return
    }
    const account = place === 'credit' ? 'credit' : (names.find(name => name.startsWith(place)) ?? '')
    const asksAgain = (this.#patience.get(`${node.parts.id} ${account}`) ?? 0) <= this.#clock.monotonicMs
    if (asksAgain) this.#refusal = { node, account, least }
    this.#impatient(node, names)
  }

  #impatient(node: SimulatedNode, names: readonly string[]): void {
    for (const name of names) this.#patience.set(`${node.parts.id} ${name}`, this.#clock.monotonicMs + recallAgainMs)
  }

  #end(call: number, share: number | null): void {
    const flight = this.#flights[call % Math.max(1, this.#flights.length)]
    if (flight?.node.state === 'runs') this.#endFlight(flight.id, share)
  }

  #endFlight(id: string, share: number | null): void {
    const index = this.#flights.findIndex(flight => flight.id === id)
    const [flight] = this.#flights.splice(index, 1)
    const held = this.oracle.held.get(id)
    if (!flight || !held) return
    this.oracle.held.delete(id)
    if (share === null) return flight.hold.release()
    const cost = (held.amount * BigInt(share)) / 100n
    const charged = cost < held.amount ? cost : held.amount
    const used = { ...held, id, cost, journalled: charged, charged }
    this.oracle.underway.set(id, used)
    flight.node.append(used)
    flight.hold.settle(nanoUsd(charged))
  }

  async #grant({ amount, lastsMs, priority }: Steps['grant']): Promise<void> {
    const id = `cg_${this.#name}_${this.#number++}`
    const endsAtMs = lastsMs === null ? null : this.#clock.wallMs + lastsMs
    const draft = {
      id,
      organizationId: this.#organization,
      kind: 'purchased' as const,
      amount: nanoUsd(BigInt(amount) * unit),
      priority,
      expiresAt: endsAtMs === null ? null : new Date(endsAtMs),
      reference: id,
      note: null,
    }
    await this.#office.transaction(tx => grantCredit(tx, draft))
    this.oracle.grants.set(id, { amount: draft.amount, endsAtMs, revoked: false })
  }

  async #revoke(index: number): Promise<void> {
    const grants = [...this.oracle.grants]
    const [id, grant] = grants[index % Math.max(1, grants.length)] ?? []
    if (!id || !grant) return
    grant.revoked = true
    await this.#office.transaction(tx => revokeCredit(tx, id))
  }

  async #wait(ms: number): Promise<void> {
    this.#clock.wallMs += ms
    this.#clock.monotonicMs += ms
    await this.#clock.track(() => this.#simulated.setClock(this.#clock.wallMs))
    if (ms < beatAfterMs) return
    for (const node of this.#nodes) if (node.state === 'runs') await node.beat()
  }

  #setLimit({ place, cents, heard }: Steps['limit']): Promise<void> {
    return this.#edit(heard, async () => {
      const scope = this.#scopeOf(place)
      const limit = cents === null ? null : BigInt(cents) * 1_000n * unit
      const isCap = place === 'usage tier'
      const kept = isCap ? this.oracle.caps : this.oracle.limits
      if (isCap)
        await this.#office.query(sql('update organizations set usage_cap_nano_usd = $2 where id = $1'), [scope, limit])
      else if (cents === null) await deleteSpendLimit(this.#office, scope)
      else await setSpendLimit(this.#office, scope, cents)
      if (limit === null) kept.delete(scope)
      else kept.set(scope, limit)
      return scope
    })
  }

  #setBudget({ key, amount, period, heard }: Steps['budget']): Promise<void> {
    return this.#edit(heard, async () => {
      const first = this.#firstKey(key)
      if (amount === null) {
        await this.#office.transaction(tx => deleteKeyBudget(tx, first))
        this.oracle.budgets.delete(first)
      } else {
        const limit = nanoUsd(BigInt(amount) * unit)
        await this.#office.transaction(tx => setKeyBudget(tx, this.#key(key), { limit, period }))
        this.oracle.budgets.set(first, { limit, period, setAtMs: this.#clock.wallMs })
      }
      return first
    })
  }

  #edit(heard: boolean, work: () => Promise<string>): Promise<void> {
    const edited = this.#edits.then(async () => {
      this.#limitsChanged = true
      const scope = await work()
      if (!heard) return
      for (const node of this.#nodes) {
        if (node.state !== 'runs') continue
        this.#know(node)
        node.wallets.recall(scope)
      }
    })
    this.#edits = edited
    return edited
  }

  #hear(node: SimulatedNode | undefined): void {
    if (!node || node.state === 'down') return
    node.state = 'runs'
    node.hearsRecalls = true
    this.#know(node)
  }

  #know(node: SimulatedNode): void {
    const { limits, caps, budgets } = this.oracle
    node.known = { monthly: new Set([...limits.keys(), ...caps.keys()]), budgets: periodsOf(budgets) }
  }

  #deafen(index: number): void {
    const node = this.#nodes[index]
    if (node) node.hearsRecalls = false
  }

  async #beat(index: number): Promise<void> {
    const node = this.#nodes[index]
    if (node && node.state !== 'down') await node.beat()
  }

  #freeze(index: number): void {
    const node = this.#running(index)
    if (node) node.state = 'frozen'
  }

  #crash(node: SimulatedNode | undefined): void {
    if (!node) return
    for (const { id } of this.#flights.filter(flight => flight.node === node)) this.oracle.held.delete(id)
    this.#flights = this.#flights.filter(flight => flight.node !== node)
    node.crash()
  }

  async #stop(node: SimulatedNode | undefined): Promise<void> {
    if (!node) return
    for (const { id } of this.#flights.filter(flight => flight.node === node)) this.#endFlight(id, 50)
    await node.stop()
  }

  async #start(index: number): Promise<void> {
    const node = this.#nodes[index]
    if (node?.state !== 'down') return
    if (await node.start()) this.#hear(node)
  }

  async #takeBack(): Promise<void> {
    for (const { id } of await leasesOfLostNodes(this.#office, lostAfterMinutes)) {
      this.oracle.lost.add(id)
      await closeLease(this.#office, id)
    }
    await markLostNodes(this.#office, lostAfterMinutes)
  }

  // What it is made of

  #addNode(index: number, skewMs: number, leaseNanoUsdMax: bigint): void {
    this.#nodes.push(
      new SimulatedNode({
        id: `node_${this.#name}_${index}`,
        database: this.#simulated.database,
        clock: this.#clock,
        leaseNanoUsdMax,
        skewMs,
        onSettled: ids => this.#settled(ids),
        onRecall: scope => this.#recalls.push(scope),
        onBug: what => this.#bugs.push(what),
      }),
    )
  }

  #settled(ids: readonly string[]): void {
    const { oracle } = this
    for (const id of ids) {
      const used = oracle.underway.get(id)
      if (!used) continue
      oracle.underway.delete(id)
      oracle.settled.set(id, used)
      for (const window of oracle.windowsOf(used.spender, used.beganAtMs)) {
        const lease = used.leases.get(window)
        if (lease !== undefined && !oracle.lost.has(lease)) continue
        this.#uncovered.set(window, (this.#uncovered.get(window) ?? 0n) + used.charged)
      }
    }
  }

  #running(index: number): SimulatedNode | undefined {
    const node = this.#nodes[index % this.#nodes.length]
    return node?.state === 'runs' ? node : undefined
  }

  #accountsOf(node: SimulatedNode, spender: Spender, atMs: number): SpendAccount[] {
    const { monthly, budgets } = node.known
    // Ids of ours are what ids are.
    const organizationId = spender.organization as OrganizationId
    const projectId = spender.project as ProjectId
    const budgetKeyId = spender.budgetKey as ApiKeyId
    const spendLimits = {
      organization: monthly.has(organizationId),
      project: monthly.has(projectId),
      key: budgets.get(budgetKeyId) ?? null,
    }
    return accountsOf({ organizationId, projectId, budgetKeyId, spendLimits }, atMs)
  }

  #spender(key: number): Spender {
    return {
      organization: this.#organization,
      project: this.#project(key === 2 ? 1 : 0),
      budgetKey: this.#firstKey(key),
    }
  }

  #scopeOf(place: LimitPlace): OrganizationId | ProjectId {
    return place.startsWith('project') ? this.#project(Number(place.at(-1))) : this.#organization
  }

  #nextId(): string {
    this.#number += 1
    return `${this.#name.slice(1).padStart(8, '0')}-0000-7000-8000-${this.#number.toString(16).padStart(12, '0')}`
  }

  readonly #project = (index: number): ProjectId => `proj_${this.#name}_${index}` as ProjectId
  readonly #key = (index: number): ApiKeyId => `key_${this.#name}_${index}` as ApiKeyId
  /** Key 1 has replaced key 0. */
  readonly #firstKey = (index: number): ApiKeyId => this.#key(index === 1 ? 0 : index)
}

const refusedPlaces: Readonly<Record<string, string>> = {
  credit_balance_exhausted: 'credit',
  key_budget_exceeded: 'key_',
  project_spend_limit_exceeded: 'proj_',
  organization_spend_limit_exceeded: 'org_',
  organization_usage_limit_exceeded: 'org_',
}

const isCut = (error: unknown): boolean => error instanceof Error && error.constructor.name === 'LineCut'

const nameOf = (account: SpendAccount): string =>
  account.kind === 'credit' ? 'credit' : windowName(account.scope, account.period, account.startsAtMs)

function leasesOf(names: readonly string[], { creditLease, limitLeases }: Hold): Map<string, string> {
  // A lease's id is a string of its own kind.
  const leases = [...limitLeases, ...(creditLease === null ? [] : [creditLease])] as unknown as string[]
  return new Map(names.flatMap((name, index) => (leases[index] === undefined ? [] : [[name, leases[index]]])))
}

const same = ({ windows, ...books }: Books): string =>
  JSON.stringify([books, [...windows].sort((a, b) => (a.name < b.name ? -1 : 1))], (_, value) =>
    typeof value === 'bigint' ? `${value}` : value,
  )

function tracked(database: Database, clock: Clock): Database {
  const query: Queryable['query'] = (statement, values) => clock.track(() => database.query(statement, values))
  return { ...database, query, transaction: work => clock.track(() => database.transaction(work)) }
}

async function nextName(database: Queryable): Promise<bigint> {
  const [row] = await database.query<{ number: bigint }>(sql('select count(*) as number from organizations'))
  return row?.number ?? 0n
}

const organizationOf = `with o as (insert into organizations (id, name) values ('org_' || $1, $1)),
  p as (insert into projects (id, organization_id, name)
    select 'proj_' || $1 || '_' || n, 'org_' || $1, 'project' from generate_series(0, ${projectCount - 1}) n)
  insert into ledger_accounts (id, organization_id, kind)
    values ('org_' || $1 || '/credit', 'org_' || $1, 'credit'), ('org_' || $1 || '/leased', 'org_' || $1, 'leased')`
const keysOf = `insert into api_keys (id, kind, organization_id, project_id, name, secret_hash, pepper_id, redacted, budget_key_id)
  select 'key_' || $1 || '_' || n, 'project', 'org_' || $1, 'proj_' || $1 || '_' || (n / 2), 'key',
    sha256(convert_to($1 || ' ' || n, 'UTF8')), 'none', 'sk-...', case n when 1 then 'key_' || $1 || '_0' end
  from generate_series(0, ${keyCount - 1}) n`

async function addOrganization(database: Queryable, name: string): Promise<void> {
  await database.query(sql(organizationOf), [name])
  await database.query(sql(keysOf), [name])
}
