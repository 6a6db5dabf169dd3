/** Credit grants. What ends soonest is spent first; of what ends together, what cost its owner least. */
export const creditKinds = ['purchased', 'promotional', 'free'] as const
export type CreditKind = (typeof creditKinds)[number]

/** Among grants that end together the lower one is spent first. */
export const creditPriorities = { free: 10, promotional: 20, purchased: 30 } as const satisfies Record<
  CreditKind,
  number
>
