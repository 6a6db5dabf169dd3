/**
 * Nodes that share one database, and one organization's money: runs the steps of a history, and looks after each whether
 * everything that must be true is. What it finds wrong, it throws.
 */
import { audit, type Books, chargesOf, readBooks } from './books.ts'
import { Calls } from './calls.ts'
import { Clock } from './clock.ts'
import type { SimulatedDatabase } from './database.ts'
import { periodsOf, SimulatedNode } from './node.ts'
import { lostAfterMinutes, Office } from './office.ts'
import { Oracle } from './oracle.ts'
import { Place } from './place.ts'
import { randomOf } from './random.ts'
import { refusedWrongly } from './refusals.ts'
import { type Base, brokenRules, overdrafts } from './rules.ts'
import { nodesMax, type SingleStep, type Step, type StepKind, type Steps, unit } from './steps.ts'

export class RuleBroken extends Error {}

/** The evening of the 29th of January or one of the next days, so that days, weeks and months end soon. */
const startsAtMs = Date.UTC(2027, 0, 29, 23, 50)
const dayMs = 86_400_000
const beatAfterMs = 60_000
/** By then a node has handed back everything that it does not need. */
const idleRounds = 3

export class World {
  readonly oracle: Oracle
  readonly #clock: Clock
  readonly #simulated: SimulatedDatabase
  readonly #place: Place
  readonly #office: Office
  readonly #calls: Calls
  readonly #nodes: SimulatedNode[] = []
  readonly #base: Base
  readonly #bugs: string[] = []
  #recalls: string[] = []
  #overdrafts: ReadonlyMap<string, bigint> = new Map()
  /** Charged since the last look to windows that no lease had covered. */
  #uncovered = new Map<string, bigint>()
  /** The step runs alone, and nothing of any node was disturbed when it began. */
  #calm = true

  /** @param number chooses what the world is like @param nodes how many; else the number chooses that too */
  static async open(simulated: SimulatedDatabase, seed: number, number: number, nodes?: number): Promise<World> {
    const random = randomOf(seed, -number)
    const clock = new Clock(startsAtMs + random.below(4 * dayMs), random.pick([20, 100, 250]))
    await simulated.setClock(clock.wallMs)
    const place = await Place.open(simulated.database)
    const world = new World(simulated, clock, place, await readBooks(simulated.database, place.scopes, []))
    const nodeCount = nodes ?? 1 + random.below(nodesMax)
    for (let index = 0; index < nodeCount; index += 1) {
      const skewMs = random.chance(0.5) ? 0 : random.below(120_000) - 60_000
      world.#addNode(index, skewMs, unit * BigInt(2_000 + random.below(100_000)))
    }
    for (const node of world.#nodes) await world.#finish(node.start())
    return world
  }

  private constructor(simulated: SimulatedDatabase, clock: Clock, place: Place, { revenue, overrun }: Base) {
    this.#simulated = simulated
    this.#clock = clock
    this.#place = place
    this.#base = { revenue, overrun }
    this.oracle = new Oracle(place.budgetKeys)
    this.#office = new Office(simulated.database, clock, this.oracle, place, scope => this.#allHear(scope))
    this.#calls = new Calls(clock, this.oracle, place, what => this.#bugs.push(what))
  }

  async run(step: Step): Promise<void> {
    const steps = step.kind === 'together' ? step.steps : [step]
    this.#calm = step.kind !== 'together' && this.#nodes.every(node => node.isWell)
    await this.#finish(Promise.all(steps.map(each => this.#take(each))))
    await this.#look()
  }

  /** Lets everything end, and then looks at everything. */
  async end(): Promise<void> {
    await this.#settleDown()
    await this.#idle()
    await this.#replay()
    for (const node of this.#nodes) await this.#finish(this.#stopSurely(node))
    await this.#finish(this.#wait({ ms: (lostAfterMinutes + 1) * 60_000 }))
    await this.#finish(this.#office.takeBack())
    await this.#finish(this.#office.expire())
    const wrong = [...stillLeased(await this.#look()), ...(await this.#audit())]
    if (wrong.length > 0) throw new RuleBroken(wrong.join('\n'))
  }

  async #settleDown(): Promise<void> {
    for (const node of this.#nodes) {
      node.troubles.length = 0
      await this.#finish(node.arrive())
      await this.#finish(node.state === 'down' ? node.start() : node.beat())
      this.#hear(node)
    }
    this.#calls.endAll(50)
    for (const node of this.#nodes) await this.#finish(node.deliver(node.waiting, 'in order'))
  }

  /** Nodes without a call hand back everything by themselves. */
  async #idle(): Promise<void> {
    for (let round = 0; round < idleRounds; round += 1) {
      for (const node of this.#nodes) await this.#finish(node.tidy())
    }
    const { leases } = await this.#look()
    if (leases.length > 0) {
      throw new RuleBroken(`idle nodes keep ${leases.map(lease => `${lease.open} of ${lease.account}`)}`)
    }
  }

  async #replay(): Promise<void> {
    const before = await this.#look()
    for (const node of this.#nodes) await this.#finish(node.replay())
    if (same(before) !== same(await this.#look())) throw new RuleBroken('replaying every journal changed the books')
  }

  async #stopSurely(node: SimulatedNode): Promise<void> {
    if (!(await node.stop())) this.#bugs.push('a node could not stop')
  }

  async #audit(): Promise<string[]> {
    const { database } = this.#simulated
    const wrong = await audit(database, this.#place.organization)
    const charges = await chargesOf(database, this.#place.organization)
    for (const { id, cost, charged } of this.oracle.settled.values()) {
      const [paid, borne] = charges.get(id) ?? [-1n, -1n]
      if (paid !== charged || borne !== cost - charged) wrong.push(`call ${id} is charged ${paid} and ${borne}`)
    }
    return wrong
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
    const books = await readBooks(this.#simulated.database, this.#place.scopes, [...this.oracle.lost])
    const running = new Set(this.#nodes.filter(node => !node.stopped).map(({ parts }) => parts.id))
    const wrong = [
      ...this.#bugs.splice(0),
      ...brokenRules(this.oracle, books, this.#base, this.#clock.wallMs, running),
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
    if (this.#office.takeEdited()) return []
    return [...this.#overdrafts]
      .filter(([name, over]) => over > (before.get(name) ?? 0n) + (uncovered.get(name) ?? 0n))
      .map(([name, over]) => `${name} is ${over} beyond its limit`)
  }

  #wrongRefusal(books: Books): string[] {
    const refusal = this.#calls.takeRefusal()
    if (!refusal || !this.#calm || !this.#nodes.every(node => node.isWell)) return []
    const wrong = refusedWrongly(this.oracle, books, refusal)
    return wrong ? [wrong] : []
  }

  // Steps

  readonly #doers: { readonly [Kind in StepKind]: (step: Steps[Kind]) => unknown } = {
    call: step => this.#whileRunning(step, node => this.#calls.begin(node, step)),
    end: step => this.#calls.end(step),
    deliver: step => this.#whileRunning(step, node => node.deliver(step.records, step.order)),
    grant: step => this.#office.grant(step),
    revoke: step => this.#office.revoke(step),
    expire: () => this.#office.expire(),
    wait: step => this.#wait(step),
    limit: step => this.#office.setLimit(step),
    budget: step => this.#office.setBudget(step),
    hear: step => this.#whileUp(step, node => this.#hear(node)),
    deafen: step => this.#whileUp(step, node => node.deafen()),
    beat: step => this.#whileUp(step, node => node.beat()),
    tidy: step => this.#whileRunning(step, node => node.tidy()),
    disturb: step => this.#whileRunning(step, node => node.disturb(step.trouble, step.statements)),
    arrive: () => Promise.all(this.#nodes.map(node => node.arrive())),
    freeze: step => this.#whileRunning(step, node => node.freeze()),
    crash: step => this.#whileRunning(step, node => this.#crash(node)),
    stop: step => this.#whileRunning(step, node => this.#stop(node)),
    start: step => this.#start(this.#nodeOf(step)),
    'take back': () => this.#office.takeBack(),
    trim: () => this.#trim(),
  }

  async #take(step: SingleStep): Promise<void> {
    // The doer of a kind takes what belongs to that kind.
    const doer = this.#doers[step.kind] as (step: Steps[StepKind]) => unknown
    await doer(step)
  }

  #nodeOf({ node }: { readonly node: number }): SimulatedNode | undefined {
    return this.#nodes[node % this.#nodes.length]
  }

  #whileRunning(step: { readonly node: number }, work: (node: SimulatedNode) => unknown): unknown {
    const node = this.#nodeOf(step)
    return node?.state === 'runs' ? work(node) : undefined
  }

  #whileUp(step: { readonly node: number }, work: (node: SimulatedNode) => unknown): unknown {
    const node = this.#nodeOf(step)
    return node && node.state !== 'down' ? work(node) : undefined
  }

  async #wait({ ms }: Steps['wait']): Promise<void> {
    this.#clock.wallMs += ms
    this.#clock.monotonicMs += ms
    await this.#clock.track(() => this.#simulated.setClock(this.#clock.wallMs))
    if (ms < beatAfterMs) return
    for (const node of this.#nodes) if (node.state === 'runs') await node.beat()
  }

  #allHear(scope: string): void {
    for (const node of this.#nodes) {
      if (node.state !== 'runs') continue
      this.#know(node)
      node.wallets.recall(scope)
    }
  }

  #hear(node: SimulatedNode): void {
    node.wake()
    this.#know(node)
  }

  #know(node: SimulatedNode): void {
    const { limits, caps, budgets } = this.oracle
    node.known = { monthly: new Set([...limits.keys(), ...caps.keys()]), budgets: periodsOf(budgets) }
  }

  #crash(node: SimulatedNode): void {
    this.#calls.drop(node)
    node.crash()
  }

  async #stop(node: SimulatedNode): Promise<void> {
    this.#calls.endAll(50, node)
    await node.stop()
  }

  async #start(node: SimulatedNode | undefined): Promise<void> {
    if (node?.state === 'down' && (await node.start())) this.#hear(node)
  }

  /** In truth after a month, when no statement of the time before is on its way any more: here one may be, days later. */
  async #trim(): Promise<void> {
    if (this.#nodes.every(({ late }) => late.length === 0)) await this.#office.trim()
  }

  #addNode(index: number, skewMs: number, leaseNanoUsdMax: bigint): void {
    this.#nodes.push(
      new SimulatedNode({
        id: `node_${this.#place.name}_${index}`,
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
    for (const used of oracle.settle(ids)) {
      for (const window of oracle.windowsOf(used.spender, used.beganAtMs)) {
        const lease = used.leases.get(window)
        if (lease !== undefined && !oracle.lost.has(lease)) continue
        this.#uncovered.set(window, (this.#uncovered.get(window) ?? 0n) + used.charged)
      }
    }
  }
}

function stillLeased({ leased, leases, windows }: Books): string[] {
  return [
    ...(leased === 0n && leases.length === 0 ? [] : [`${leased} stay leased when every node has stopped`]),
    ...windows.filter(window => window.leased !== 0n).map(({ name, leased }) => `${leased} of ${name} stay leased`),
  ]
}

const same = ({ windows, ...books }: Books): string =>
  JSON.stringify([books, [...windows].sort((a, b) => (a.name < b.name ? -1 : 1))], (_, value) =>
    typeof value === 'bigint' ? `${value}` : value,
  )
