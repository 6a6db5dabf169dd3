/** From which table which part of a stretch of time is read: the coarsest rollup that fits, single events at the edges. Pure. */

/** `usage_events` has every single one. */
export type UsageSource = 'usage_days' | 'usage_hours' | 'usage_minutes' | 'usage_events'

/** Seconds since 1970, the end exclusive. */
export type Segment = {
  readonly source: UsageSource
  readonly from: number
  readonly to: number
  /** Of a rollup: these of its buckets and no others. */
  readonly starts?: readonly number[]
  /** Of events: they are in what is read beside them, and are not asked about. */
  readonly isTakenAway?: true
}

export const rollupSeconds = { usage_days: 86_400, usage_hours: 3_600, usage_minutes: 60 } as const

const rollups = [
  { source: 'usage_days', seconds: rollupSeconds.usage_days },
  { source: 'usage_hours', seconds: rollupSeconds.usage_hours },
  { source: 'usage_minutes', seconds: rollupSeconds.usage_minutes },
] as const

/** Minutes are kept for 31 days; a day less is read, so that retention at midnight takes nothing away from a running page. */
export const minutesReadDays = 30

export type Stretch = {
  readonly from: number
  readonly to: number
  readonly bucketSeconds: number
  readonly now: number
}

export function segmentsOf({ from, to, bucketSeconds, now }: Stretch): Segment[] {
  const minutesFrom = (Math.floor(now / 86_400) - minutesReadDays) * 86_400
  const usable = rollups.filter(({ seconds }) => seconds <= bucketSeconds)
  return cover({ from, to }, usable, minutesFrom)
}

type Rollup = (typeof rollups)[number]

/** The middle from the first of the rollups, what is left on both sides from the others. */
function cover({ from, to }: Pick<Segment, 'from' | 'to'>, usable: readonly Rollup[], minutesFrom: number): Segment[] {
  if (from >= to) return []
  const [rollup, ...finer] = usable
  if (rollup === undefined) return [{ source: 'usage_events', from, to }]
  const { source, seconds } = rollup
  const earliest = source === 'usage_minutes' ? Math.max(from, minutesFrom) : from
  const begin = Math.ceil(earliest / seconds) * seconds
  const end = Math.floor(to / seconds) * seconds
  if (begin >= end) return cover({ from, to }, finer, minutesFrom)
  return [
    ...cover({ from, to: begin }, finer, minutesFrom),
    { source, from: begin, to: end },
    ...cover({ from: end, to }, finer, minutesFrom),
  ]
}
