/** Calls from their hold to their end, and what was said to those that were refused. */
import type { ApiError } from '#contract/errors.ts'
import type { ApiKeyId, OrganizationId, ProjectId } from '#contract/ids.ts'
import { nanoUsd } from '#core/money.ts'
import { accountsOf, type SpendAccount } from '#core/spending.ts'
import type { Hold } from '#gateway/wallets.ts'
import type { Clock } from './clock.ts'
import { LineCut, type SimulatedNode } from './node.ts'
import { type Oracle, type Spender, windowName } from './oracle.ts'
import type { Place } from './place.ts'
import type { Refusal } from './refusals.ts'
import { type Steps, unit } from './steps.ts'

type Flight = { readonly id: string; readonly node: SimulatedNode; readonly hold: Hold }

/** A node that asked others in vain asks nobody for so long. */
const recallAgainMs = 1_000

export class Calls {
  readonly #clock: Clock
  readonly #oracle: Oracle
  readonly #place: Place
  readonly #onBug: (what: string) => void
  #flights: Flight[] = []
  #number = 0
  /** Until when a node does not ask others again, by node and account. */
  readonly #patience = new Map<string, number>()
  #refusal: Refusal | undefined

  constructor(clock: Clock, oracle: Oracle, place: Place, onBug: (what: string) => void) {
    this.#clock = clock
    this.#oracle = oracle
    this.#place = place
    this.#onBug = onBug
  }

  /** The newest call since this was last asked that was refused, although its node could ask the others. */
  takeRefusal(): Refusal | undefined {
    const refusal = this.#refusal
    this.#refusal = undefined
    return refusal
  }

  async begin(node: SimulatedNode, { key, most, least }: Steps['call']): Promise<void> {
    this.#number += 1
    const id = this.#place.callId(this.#number)
    const spender = this.#place.spender(key)
    const beganAtMs = node.now
    const accounts = accountsFor(node, spender, beganAtMs)
    const names = accounts.map(nameOf)
    const amounts = { most: nanoUsd(BigInt(most) * unit), least: nanoUsd(BigInt(least) * unit) }
    try {
      const reserved = node.wallets.reserve(accounts, amounts)
      const hold = reserved instanceof Promise ? await reserved : reserved
      const { amount } = hold
      if (amount < amounts.least || amount > amounts.most) this.#onBug(`a hold of ${amount}`)
      this.#oracle.held.set(id, {
        spender,
        key: this.#place.key(key),
        beganAtMs,
        amount,
        leases: leasesOf(names, hold),
      })
      this.#flights.push({ id, node, hold })
      if (amount < amounts.most) this.#impatient(node, names)
    } catch (error) {
      this.#refused(node, names, amounts.least, error)
    }
  }

  end({ call, share }: Steps['end']): void {
    const flight = this.#flights[call % Math.max(1, this.#flights.length)]
    if (flight?.node.state === 'runs') this.#endFlight(flight, share)
  }

  /** @param node undefined: of all */
  endAll(share: number, node?: SimulatedNode): void {
    for (const flight of [...this.#flights]) if (!node || flight.node === node) this.#endFlight(flight, share)
  }

  /** The node was killed, and nobody saw the end of its calls. */
  drop(node: SimulatedNode): void {
    for (const flight of this.#flights) if (flight.node === node) this.#oracle.held.delete(flight.id)
    this.#flights = this.#flights.filter(flight => flight.node !== node)
  }

  #endFlight(flight: Flight, share: number | null): void {
    const { id, node, hold } = flight
    const held = this.#oracle.held.get(id)
    this.#flights.splice(this.#flights.indexOf(flight), 1)
    if (!held) return
    this.#oracle.held.delete(id)
    if (share === null) return hold.release()
    const cost = (held.amount * BigInt(share)) / 100n
    const charged = cost < held.amount ? cost : held.amount
    const used = { ...held, id, cost, journalled: charged, charged }
    this.#oracle.underway.set(id, used)
    node.append(used)
    hold.settle(nanoUsd(charged))
  }

  #refused(node: SimulatedNode, names: readonly string[], least: bigint, error: unknown): void {
    // Whatever else is thrown has no such code, and is a bug.
    const { errorCode, cause } = error as Partial<ApiError>
    const place = refusedPlaces[errorCode ?? '']
    const account = place === 'credit' ? place : names.find(name => place !== undefined && name.startsWith(place))
    const couldAsk = (this.#patience.get(`${node.parts.id} ${account}`) ?? 0) <= this.#clock.monotonicMs
    this.#impatient(node, names)
    if (account !== undefined) this.#refusal = couldAsk ? { account, least } : undefined
    else if (errorCode !== 'storage_unavailable' || !(cause instanceof LineCut)) {
      this.#onBug(`a call failed: ${error} (${cause})`)
    }
  }

  #impatient(node: SimulatedNode, names: readonly string[]): void {
    for (const name of names) this.#patience.set(`${node.parts.id} ${name}`, this.#clock.monotonicMs + recallAgainMs)
  }
}

const refusedPlaces: Readonly<Record<string, string>> = {
  credit_balance_exhausted: 'credit',
  key_budget_exceeded: 'key_',
  project_spend_limit_exceeded: 'proj_',
  organization_spend_limit_exceeded: 'org_',
  organization_usage_limit_exceeded: 'org_',
}

/** By the limits that the node knows of. */
function accountsFor({ known }: SimulatedNode, spender: Spender, atMs: number): SpendAccount[] {
  // Ids of ours are what ids are.
  const organizationId = spender.organization as OrganizationId
  const projectId = spender.project as ProjectId
  const budgetKeyId = spender.budgetKey as ApiKeyId
  const spendLimits = {
    organization: known.monthly.has(organizationId),
    project: known.monthly.has(projectId),
    key: known.budgets.get(budgetKeyId) ?? null,
  }
  return accountsOf({ organizationId, projectId, budgetKeyId, spendLimits }, atMs)
}

const nameOf = (account: SpendAccount): string =>
  account.kind === 'credit' ? 'credit' : windowName(account.scope, account.period, account.startsAtMs)

function leasesOf(names: readonly string[], { creditLease, limitLeases }: Hold): Map<string, string> {
  // A lease's id is a string of its own kind.
  const leases = [...limitLeases, ...(creditLease === null ? [] : [creditLease])] as unknown as string[]
  return new Map(names.flatMap((name, index) => (leases[index] === undefined ? [] : [[name, leases[index]]])))
}
