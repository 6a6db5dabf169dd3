/** Which parts of a page of usage are read from what is sealed, and which from the rollups and the single events. */
import type { Queryable } from './database.ts'
import type { UsageQuestion } from './usage-queries.ts'
import { countSealedGroups, readSealedSizes, type SealedStretch, type SealedWidth } from './usage-sealed.ts'
import { rollupSeconds, type Segment, segmentsOf } from './usage-segments.ts'

export type PagePlan = {
  /** Exclusive. */
  readonly to: number
  readonly sealed: readonly SealedStretch[]
  readonly live: readonly Segment[]
}

/** To an end that is later than this long ago few calls can have come since: these are counted, and not those before. */
const recentSeconds = 60
const recentDays = 2
/** So little is read whole, whatever is filtered out of it. */
const narrowBytesMin = 1024 * 1024
/** Where the filters leave one group in so many, its rows are found one by one. */
const narrowShare = 20

/** @param bytesMax of sealed sums; a page that would need more ends earlier, but not before the end of its first bucket */
export async function planPage(snapshot: Queryable, question: UsageQuestion, bytesMax: number): Promise<PagePlan> {
  const to = wholeEnd(question)
  const taken: Segment[] =
    to === question.to ? [] : [{ source: 'usage_events', from: question.to, to, isTakenAway: true }]
  const segments = segmentsOf({ ...question, to })
  const { sealed, live, sizes } = await findSealed(snapshot, question, segments)
  const bytes = sizes.reduce((sum, size) => sum + size.bytes, 0)
  if (bytes > narrowBytesMin && (await isNarrow(snapshot, question))) {
    return { to, sealed: [], live: [...segments.map(byStarts), ...taken] }
  }
  const end = bytes > bytesMax ? endWithin(sizes, question, bytesMax) : undefined
  if (end !== undefined) return planPage(snapshot, { ...question, to: end }, Number.POSITIVE_INFINITY)
  return { to, sealed, live: [...live, ...taken] }
}

/** Where the end has just been or is yet to come, all of its bucket is read, and what came after it is taken away. */
function wholeEnd({ from, to, now, bucketSeconds }: UsageQuestion): number {
  return to > now - recentSeconds && to > from ? Math.ceil(to / bucketSeconds) * bucketSeconds : to
}

type Size = { readonly startsAt: number; readonly bytes: number }
type Found = { readonly sealed: SealedStretch[]; readonly live: Segment[]; readonly sizes: Size[] }

const widths: Partial<Record<Segment['source'], SealedWidth>> = {
  usage_days: 'day',
  usage_hours: 'hour',
  usage_minutes: 'minute',
}

async function findSealed(snapshot: Queryable, question: UsageQuestion, segments: readonly Segment[]): Promise<Found> {
  const found: Found = { sealed: [], live: [], sizes: [] }
  const left = [...segments]
  for (let segment = left.shift(); segment !== undefined; segment = left.shift()) {
    const width = widths[segment.source]
    if (width === undefined) {
      found.live.push(segment)
      continue
    }
    const stretch = { width, from: segment.from, to: segment.to }
    const sizes = await readSealedSizes(snapshot, question, stretch)
    if (sizes.size > 0) found.sealed.push(stretch)
    for (const [startsAt, bytes] of sizes) found.sizes.push({ startsAt, bytes })
    const open = startsOf(segment).filter(startsAt => !sizes.has(startsAt))
    if (width === 'minute') {
      found.live.push(...minutesWithin(segment, open))
      continue
    }
    // Of a day that is not over most hours are
    const byHour = open.filter(startsAt => width === 'day' && startsAt > question.now - recentDays * daySeconds)
    left.push(...byHour.map(day => ({ source: 'usage_hours', from: day, to: day + daySeconds }) as const))
    const starts = open.filter(startsAt => !byHour.includes(startsAt))
    if (starts.length > 0) found.live.push({ ...segment, starts })
  }
  return found
}

const { usage_days: daySeconds, usage_hours: hourSeconds } = rollupSeconds

/** Minutes are sealed by the hour. */
function startsOf({ source, from, to }: Segment): number[] {
  const seconds = source === 'usage_days' ? daySeconds : hourSeconds
  const first = from - (from % seconds)
  return Array.from({ length: Math.ceil((to - first) / seconds) }, (_, index) => first + index * seconds)
}

/** What a stretch of minutes has in these hours, which are in order. */
function minutesWithin({ source, from, to }: Segment, hours: readonly number[]): Segment[] {
  const runs: { from: number; to: number }[] = []
  for (const hour of hours) {
    const last = runs.at(-1)
    if (last?.to === hour) last.to = hour + hourSeconds
    else runs.push({ from: hour, to: hour + hourSeconds })
  }
  return runs.map(run => ({ source, from: Math.max(from, run.from), to: Math.min(to, run.to) }))
}

/** Each start and each group is then looked up by itself. */
const byStarts = (segment: Segment): Segment =>
  segment.source === 'usage_days' || segment.source === 'usage_hours'
    ? { ...segment, starts: startsOf(segment) }
    : segment

/** Whether nearly all that is sealed would be read for nothing. */
async function isNarrow(snapshot: Queryable, question: UsageQuestion): Promise<boolean> {
  const { api_key_id, project_id, user_id, model } = question.filters
  if ((api_key_id ?? project_id ?? user_id ?? model) === undefined) return false
  const { all, asked } = await countSealedGroups(snapshot, question)
  return asked * narrowShare < all
}

/** The start of the first bucket that does not fit any more; undefined where that is the first of all. */
function endWithin(
  sizes: readonly Size[],
  { from, bucketSeconds }: UsageQuestion,
  bytesMax: number,
): number | undefined {
  let bytes = 0
  for (const size of sizes.toSorted((a, b) => a.startsAt - b.startsAt)) {
    bytes += size.bytes
    const bucket = size.startsAt - (size.startsAt % bucketSeconds)
    if (bytes > bytesMax && bucket > from) return bucket
  }
  return undefined
}
