/** Histories that once failed, the shortest of each, by what is true since. */
import type { Step } from './steps.ts'

export type Mended = { readonly nodes: number; readonly steps: readonly Step[] }

const cent = 1_000
const dollar: Step = { kind: 'grant', amount: 100 * cent, lastsMs: null, priority: 0 }
const call = (node: number, cents: number): Step => {
  const amount = cents * cent
  return { kind: 'call', node, key: 0, most: amount, least: amount }
}

/** Node 0 says nothing for an hour, its leases are taken back, and it does not know. */
const givenUpForLost: readonly Step[] = [
  { kind: 'freeze', node: 0 },
  { kind: 'wait', ms: 3_600_000 },
  { kind: 'take back' },
  { kind: 'hear', node: 0 },
]

export const mended: Readonly<Record<string, Mended>> = {
  'a return that was given up and arrives late takes nothing that its node counts on again': {
    nodes: 1,
    steps: [
      dollar,
      call(0, 1),
      { kind: 'end', call: 0, share: 100 },
      { kind: 'tidy', node: 0 },
      { kind: 'disturb', node: 0, trouble: 'request late', statements: 1 },
      { kind: 'tidy', node: 0 },
      call(0, 2),
      { kind: 'arrive' },
    ],
  },
  'what a node reserved without hearing of it is given to the node that needs it': {
    nodes: 2,
    steps: [dollar, { kind: 'disturb', node: 0, trouble: 'answer lost', statements: 1 }, call(0, 60), call(1, 70)],
  },
  'a lease that a node began after it was given up for lost is handed back': {
    nodes: 1,
    steps: [dollar, ...givenUpForLost, call(0, 10), { kind: 'beat', node: 0 }, call(0, 10)],
  },
  'a node that was given up for lost counts what its newest lease holds before it refuses a call': {
    nodes: 1,
    steps: [
      dollar,
      ...givenUpForLost,
      call(0, 10),
      { kind: 'end', call: 0, share: null },
      { kind: 'beat', node: 0 },
      call(0, 95),
    ],
  },
  'what the platform bears of a late call does not stay reserved of the spend limit': {
    nodes: 1,
    steps: [
      dollar,
      { kind: 'call', node: 0, key: 2, most: 4 * cent, least: 4 * cent },
      { kind: 'freeze', node: 0 },
      { kind: 'budget', key: 0, amount: 40 * cent, period: 'day', heard: true },
      { kind: 'wait', ms: 3_600_000 },
      { kind: 'take back' },
      { kind: 'hear', node: 0 },
      call(0, 4),
      { kind: 'revoke', grant: 0 },
    ],
  },
  'a node that stood still until its leases were deleted begins new ones, and what it had used is charged': {
    nodes: 1,
    steps: [
      dollar,
      call(0, 10),
      { kind: 'end', call: 0, share: 100 },
      call(0, 20),
      { kind: 'freeze', node: 0 },
      { kind: 'wait', ms: 3_600_000 },
      { kind: 'take back' },
      { kind: 'wait', ms: 4 * 86_400_000 },
      { kind: 'trim' },
      { kind: 'hear', node: 0 },
      call(0, 30),
      { kind: 'end', call: 0, share: 50 },
      { kind: 'beat', node: 0 },
      call(0, 10),
    ],
  },
}
