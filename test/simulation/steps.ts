/**
 * What can happen in the simulated world, one row a kind of step: how often, what it is made of, and how people read it. A
 * step is data and names what it touches by number, so that any step can be left out and the rest still runs.
 */
import type { Period } from '#core/spending.ts'
import { type Random, randomOf } from './random.ts'

/** Money in steps is thousandths of a cent; of these, in nano-dollars. */
export const unit = 10_000n
export const nodesMax = 4
export const keyCount = 3
export const projectCount = 2

/** What happens to the next statements of a node: on the way there, on the way back, or they arrive much later. */
export const troubles = ['request lost', 'answer lost', 'request late'] as const
export type Trouble = (typeof troubles)[number]

export type LimitPlace = 'organization' | 'usage tier' | `project ${number}`

/** Money in thousandths of a cent; times in milliseconds. */
export type Steps = {
  call: { node: number; key: number; most: number; least: number }
  /** `share`: of what was held, in percent, what the call cost; null: it failed and cost nothing. */
  end: { call: number; share: number | null }
  deliver: { node: number; records: number; order: 'in order' | 'reversed' | 'with old ones' }
  grant: { amount: number; lastsMs: number | null; priority: number }
  revoke: { grant: number }
  expire: Record<never, never>
  wait: { ms: number }
  limit: { place: LimitPlace; cents: number | null; heard: boolean }
  budget: { key: number; amount: number | null; period: Period; heard: boolean }
  hear: { node: number }
  deafen: { node: number }
  beat: { node: number }
  tidy: { node: number }
  disturb: { node: number; trouble: Trouble; statements: number }
  arrive: Record<never, never>
  freeze: { node: number }
  crash: { node: number }
  stop: { node: number }
  start: { node: number }
  'take back': Record<never, never>
  trim: Record<never, never>
}

export type StepKind = keyof Steps
export type SingleStep = { [Kind in StepKind]: { kind: Kind } & Steps[Kind] }[StepKind]
export type Step = SingleStep | { kind: 'together'; steps: SingleStep[] }

type Row<Kind extends StepKind> = {
  readonly weight: number
  make(random: Random): Steps[Kind]
  read(step: Steps[Kind]): string
  /** May run beside others. */
  readonly beside: boolean
}

const cent = 1_000
const minuteMs = 60_000
const dayMs = 86_400_000
const node = (random: Random) => ({ node: random.below(nodesMax) })
const nothing = () => ({})
const usd = (amount: number): string => `$${(amount / 100_000).toFixed(5)}`
const waits = [50, 2_000, 2_000, 30_000, 5 * minuteMs, 12 * minuteMs, dayMs / 3, 4 * dayMs] as const
const places = ['organization', 'usage tier', 'project 0', 'project 1'] as const satisfies readonly LimitPlace[]

const rows: { readonly [Kind in StepKind]: Row<Kind> } = {
  call: {
    weight: 330,
    beside: true,
    make: random => {
      const most = 1 + random.below(random.chance(0.1) ? 40 * cent : 6 * cent)
      return {
        ...node(random),
        key: random.below(keyCount),
        most,
        least: random.chance(0.3) ? Math.ceil(most / 5) : most,
      }
    },
    read: ({ node, key, most, least }) =>
      `a call of key ${key} on node ${node} asks for ${usd(most)}${least < most ? `, or at least ${usd(least)}` : ''}`,
  },
  end: {
    weight: 300,
    beside: true,
    make: random => ({ call: random.below(1_000), share: random.chance(0.15) ? null : random.below(121) }),
    read: ({ call, share }) =>
      `the call in flight number ${call} (modulo how many there are) ${share === null ? 'fails' : `costs ${share} % of what was held`}`,
  },
  deliver: {
    weight: 110,
    beside: true,
    make: random => ({
      ...node(random),
      records: 1 + random.below(12),
      order: random.pick(['in order', 'in order', 'reversed', 'with old ones']),
    }),
    read: ({ node, records, order }) => `node ${node} delivers up to ${records} records of its journal, ${order}`,
  },
  grant: {
    weight: 14,
    beside: true,
    make: random => ({
      amount: 1 + random.below(120 * cent),
      lastsMs: random.chance(0.5) ? null : random.pick([2 * minuteMs, dayMs / 2, 5 * dayMs]),
      priority: random.below(3) * 10,
    }),
    read: ({ amount, lastsMs, priority }) =>
      `${usd(amount)} are granted${lastsMs === null ? '' : ` for ${lastsMs / minuteMs} minutes`}, priority ${priority}`,
  },
  revoke: {
    weight: 4,
    beside: true,
    make: random => ({ grant: random.below(100) }),
    read: ({ grant }) => `grant number ${grant} (modulo how many there are) is revoked`,
  },
  expire: { weight: 5, beside: true, make: nothing, read: () => 'the job that ends grants runs' },
  wait: {
    weight: 40,
    beside: false,
    make: random => ({ ms: random.pick(waits) }),
    read: ({ ms }) => `${ms / 1_000} seconds pass`,
  },
  limit: {
    weight: 14,
    beside: true,
    make: random => ({
      place: random.pick(places),
      cents: random.chance(0.25) ? null : random.below(120),
      heard: random.chance(0.8),
    }),
    read: ({ place, cents, heard }) =>
      `the spend limit of ${place} ${cents === null ? 'is taken away' : `becomes ${cents} cents`}${heard ? '' : ', which no node hears of yet'}`,
  },
  budget: {
    weight: 10,
    beside: true,
    make: random => ({
      key: random.below(keyCount),
      amount: random.chance(0.25) ? null : random.below(60 * cent),
      period: random.pick(['day', 'week', 'month', 'total'] satisfies [Period, ...Period[]]),
      heard: random.chance(0.8),
    }),
    read: ({ key, amount, period, heard }) =>
      `key ${key} ${amount === null ? 'loses its budget' : `gets ${usd(amount)}, by ${period}`}${heard ? '' : ', which no node hears of yet'}`,
  },
  hear: {
    weight: 12,
    beside: true,
    make: node,
    read: ({ node }) => `node ${node} hears of the limits, and of recalls`,
  },
  deafen: { weight: 3, beside: true, make: node, read: ({ node }) => `node ${node} hears no more recalls` },
  beat: { weight: 8, beside: true, make: node, read: ({ node }) => `node ${node} says that it runs` },
  tidy: { weight: 45, beside: true, make: node, read: ({ node }) => `node ${node} hands back what is idle` },
  disturb: {
    weight: 22,
    beside: false,
    make: random => ({ ...node(random), trouble: random.pick(troubles), statements: 1 + random.below(3) }),
    read: ({ node, trouble, statements }) => `of the next ${statements} statements of node ${node}: ${trouble}`,
  },
  arrive: { weight: 14, beside: true, make: nothing, read: () => 'what was late on its way to the database arrives' },
  freeze: {
    weight: 4,
    beside: false,
    make: node,
    read: ({ node }) => `node ${node} stands still until it is next heard`,
  },
  crash: { weight: 5, beside: false, make: node, read: ({ node }) => `node ${node} is killed` },
  stop: { weight: 3, beside: false, make: node, read: ({ node }) => `node ${node} stops in good order` },
  start: { weight: 14, beside: false, make: node, read: ({ node }) => `node ${node} starts, if it does not run` },
  'take back': {
    weight: 8,
    beside: true,
    make: nothing,
    read: () => 'the job that takes back the leases of lost nodes runs',
  },
  trim: { weight: 5, beside: true, make: nothing, read: () => 'leases that were closed a day ago are deleted' },
}

// entries() forgets that the names are those of the table above.
const kinds = Object.entries(rows) as [StepKind, Row<StepKind>][]
const together = 60
const togetherMax = 6

function draw(random: Random, from: readonly [StepKind, Row<StepKind>][]): SingleStep {
  let left = random.below(from.reduce((sum, [, { weight }]) => sum + weight, 0))
  for (const [kind, row] of from) {
    left -= row.weight
    // The row of a kind makes what belongs to that kind.
    if (left < 0) return { kind, ...row.make(random) } as SingleStep
  }
  throw new RangeError('no step was drawn')
}

/** History number `world` of a seed. It begins with a grant, or nothing would ever happen. */
export function history(seed: number, world: number, length: number): Step[] {
  const random = randomOf(seed, world)
  const beside = kinds.filter(([, row]) => row.beside)
  const steps: Step[] = [{ kind: 'grant', amount: (20 + random.below(300)) * cent, lastsMs: null, priority: 20 }]
  while (steps.length < length) {
    if (random.below(1_000) >= together) steps.push(draw(random, kinds))
    else {
      const size = 2 + random.below(togetherMax - 1)
      steps.push({ kind: 'together', steps: Array.from({ length: size }, () => draw(random, beside)) })
    }
  }
  return steps
}

export function read(step: Step): string {
  if (step.kind === 'together') return `at once: ${step.steps.map(read).join('; ')}`
  // A step is read by the row of its own kind.
  const row = rows[step.kind] as Row<StepKind>
  return row.read(step as Steps[StepKind])
}
