/** What is true after every step: the database's books beside what the oracle says. Each gives what is wrong, in words. */
import type { Books } from './books.ts'
import { type Oracle, sum } from './oracle.ts'

export type Base = { readonly revenue: bigint; readonly overrun: bigint }

/** Everything that can be said of one moment. What was charged for late usage is learnt from the books first. */
export function brokenRules(
  oracle: Oracle,
  books: Books,
  base: Base,
  nowMs: number,
  running: ReadonlySet<string>,
): string[] {
  return [
    ...learnLate(oracle, books),
    ...differ('all accounts together', books.sum, 0n),
    ...differ('revenue', books.revenue - base.revenue, oracle.cost),
    ...differ('what the platform bore', base.overrun - books.overrun, oracle.cost - oracle.charged),
    ...differ('calls that are settled', BigInt(books.events), BigInt(oracle.settled.size)),
    ...differ('what the calls cost', books.cost, oracle.cost),
    ...differ('what the calls were charged', books.charged, oracle.charged),
    ...differ('credit and leased', books.credit + books.leased, oracle.granted - oracle.charged - books.ended),
    ...differ('what remains of the grants', books.remaining, books.credit + books.leased),
    ...differ('leased credit', books.leased, openOf(books, 'credit')),
    ...below('credit', books.credit),
    ...below('grants whose time has come, less what was taken of them', oracle.ended(nowMs) - books.ended),
    ...books.windows.flatMap(window => differ(`leased of ${window.name}`, window.leased, openOf(books, window.name))),
    ...spentWindows(oracle, books),
    ...coveredHolds(oracle, books),
    ...books.leases
      .filter(({ node }) => !running.has(node))
      .map(({ id, node, open }) => `node ${node} has stopped and its lease ${id} holds ${open}`),
  ]
}

/** By how much each window's spent and leased are beyond its limit. */
export function overdrafts(oracle: Oracle, books: Books): Map<string, bigint> {
  const over = new Map<string, bigint>()
  for (const { name, scope, period, spent, leased } of books.windows) {
    const limit = oracle.limitOf(scope, period)
    if (limit !== null && spent + leased > limit) over.set(name, spent + leased - limit)
  }
  return over
}

/** A lease that was not taken back covers all that is held of it and that is on its way to the database. */
function coveredHolds(oracle: Oracle, books: Books): string[] {
  const open = new Map(books.leases.map(lease => [lease.id, lease.open]))
  return [...oracle.owed()]
    .filter(([lease, owed]) => !oracle.lost.has(lease) && (open.get(lease) ?? 0n) < owed)
    .map(([lease, owed]) => `calls hold ${owed} of lease ${lease}, which has ${open.get(lease) ?? 'ended'}`)
}

function learnLate(oracle: Oracle, books: Books): string[] {
  const wrong: string[] = []
  for (const [id, charged] of books.late) {
    const used = oracle.settled.get(id)
    if (!used) wrong.push(`call ${id} is settled and was never delivered`)
    else if (charged < 0n || charged > used.journalled)
      wrong.push(`call ${id} is charged ${charged} of ${used.journalled}`)
    else used.charged = charged
  }
  return wrong
}

function spentWindows(oracle: Oracle, books: Books): string[] {
  const expected = oracle.spent()
  const found = new Map(books.windows.map(({ name, spent }) => [name, spent]))
  return [...new Set([...expected.keys(), ...found.keys()])]
    .filter(name => oracle.keeps(name))
    .flatMap(name => differ(`spent of ${name}`, found.get(name) ?? 0n, expected.get(name) ?? 0n))
}

const openOf = (books: Books, account: string): bigint =>
  sum(books.leases, lease => (lease.account === account ? lease.open : 0n))

const differ = (what: string, found: bigint, expected: bigint): string[] =>
  found === expected ? [] : [`${what}: the database has ${found}, it must be ${expected}`]

const below = (what: string, found: bigint): string[] => (found >= 0n ? [] : [`${what}: ${found} is below zero`])
