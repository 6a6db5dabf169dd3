/** Whether a call was refused although there was room for it: what is free is what no call holds on any node that is well. */

import type { Period } from '#core/spending.ts'
import type { Books } from './books.ts'
import { type Oracle, sum } from './oracle.ts'

export type Refusal = { readonly account: string; readonly least: bigint }

export function refusedWrongly(oracle: Oracle, books: Books, { account, least }: Refusal): string | undefined {
  const owed = oracle.owed()
  const spare = sum(books.leases, ({ id, account: of, open }) => (of === account ? open - (owed.get(id) ?? 0n) : 0n))
  const free = spare + (account === 'credit' ? books.credit - books.ending : leftOf(oracle, books, account))
  return free >= least
    ? `a call for ${least} was refused: of ${account} ${free} is free, ${spare} of it leased`
    : undefined
}

function leftOf(oracle: Oracle, books: Books, window: string): bigint {
  const [scope = '', period] = window.split(' ')
  // The name was made of one.
  const limit = oracle.limitOf(scope, period as Period)
  const { spent, leased } = books.windows.find(({ name }) => name === window) ?? { spent: 0n, leased: 0n }
  return (limit ?? 0n) - spent - leased
}
