/**
 * A page of usage: sums in buckets of time, by whatever it is grouped by. Most of it comes from sealed hours and days, where it
 * stands nearly as it is shown; what is not sealed comes from the rollups, what is not rolled up from the single events. All is
 * seen in one snapshot, so a page is exact at any moment, in the middle of a roll-up too. What was read is put together bucket
 * by bucket, when somebody takes it: an answer is larger than what it is made of.
 */
import type { Database, Queryable } from './database.ts'
import { planPage } from './usage-plan.ts'
import {
  beginSnapshot,
  readMark,
  type SumRow,
  type UsageDimension,
  type UsageMeasure,
  type UsageQuestion,
  usageDimensions,
  usageStatement,
} from './usage-queries.ts'
import {
  addSealed,
  readSealedGroups,
  readSealedSums,
  type SealedBucket,
  type SealedGroup,
  wantedOf,
} from './usage-sealed.ts'
import { type Tallied, UsageTally } from './usage-tally.ts'

/** What sums are of. Dimensions that were not grouped by are null, and so is a user whom there is not. */
export type UsageGroup = { readonly [Name in Exclude<UsageDimension, 'batch'>]: string | null } & {
  readonly batch: boolean | null
}

export type UsagePage = {
  /** In the order of what they are grouped by; sums name them by their place here. */
  readonly groups: readonly UsageGroup[]
  /** Up to when everything was read: earlier than asked for where that would be more than a page holds. Exclusive. */
  readonly to: number
  /**
   * What there is in the bucket of that start on its grid: whole numbers in the order of the measures that were asked for,
   * beyond 2^53 as near as a JSON number comes.
   */
  sumsOf(bucket: number): Iterable<Tallied>
}

export const readUsage = (database: Database, question: UsageQuestion, bounds?: Bounds): Promise<UsagePage> =>
  database.transaction(async tx => {
    await tx.query(beginSnapshot)
    return readUsageIn(tx, question, bounds)
  })

/** @param snapshot a transaction that sees one moment throughout */
export async function readUsageIn(
  snapshot: Queryable,
  question: UsageQuestion,
  bounds: Bounds = {},
): Promise<UsagePage> {
  const { sealedBytesMax = sealedBytesMaxUsual, liveRowsMax = liveRowsMaxUsual } = bounds
  const mark = await readMark(snapshot)
  const { to, sealed, live } = await planPage(snapshot, question, sealedBytesMax)
  // A group is one that has calls: what is taken away again at the end may leave none of it
  const measures = [...new Set<UsageMeasure>([...question.measures, 'requests'])]
  const { having: _, ...asked } = { ...question, to, measures }
  const { statement, values } = usageStatement(asked, { mark, segments: live, rowsMax: liveRowsMax + 1 })
  const rows = await snapshot.query<SumRow<UsageMeasure>>(statement, values)
  if (rows.length > liveRowsMax) {
    const end = Number(rows.at(-1)?.bucket)
    const next = end > question.from ? { ...question, to: end } : question
    return readUsageIn(snapshot, next, { ...bounds, ...(end <= question.from && { liveRowsMax: liveRowsMax * 10 }) })
  }
  const buckets: SealedBucket[] = []
  for (const stretch of sealed) buckets.push(...(await readSealedSums(snapshot, question, stretch)))
  const sealedGroups = buckets.length === 0 ? [] : await readSealedGroups(snapshot, question)
  return joined({ question, measures, to, rows, buckets, sealedGroups })
}

/** Of sealed sums that one page is made of; its answer is some twelve times as large. A page that would need more ends earlier. */
const sealedBytesMaxUsual = 64 * 1024 * 1024
/** Of sums that are not sealed, as long as those of one bucket are not more. */
const liveRowsMaxUsual = 200_000
export type Bounds = { readonly sealedBytesMax?: number; readonly liveRowsMax?: number }

type Read = {
  readonly question: UsageQuestion
  readonly measures: readonly UsageMeasure[]
  readonly to: number
  readonly rows: readonly SumRow<UsageMeasure>[]
  readonly buckets: readonly SealedBucket[]
  readonly sealedGroups: readonly SealedGroup[]
}

function joined(read: Read): UsagePage {
  const { question, measures, to, rows, buckets, sealedGroups } = read
  const groupOf = groupBy(question.groupBy)
  const { groups, placeOf } = placesOf([...rows.map(groupOf), ...sealedGroups.map(groupOf)])
  const sealedPlaces = new Map(sealedGroups.map(({ id }, index) => [id, placeOf(rows.length + index)]))
  const rowsOf = Map.groupBy(rows.keys(), index => Number(rows[index]?.bucket))
  const sealedOf = Map.groupBy(buckets, ({ startsAt }) => startsAt - (startsAt % question.bucketSeconds))
  const tally = new UsageTally(groups.length, measures.length)
  const into = { places: sealedPlaces, tally }
  const wanted = wantedOf(measures)
  const needed = measures.indexOf(question.having ?? 'requests')
  return {
    groups,
    to: Math.min(to, question.to),
    *sumsOf(bucket) {
      tally.clear()
      for (const index of rowsOf.get(bucket) ?? []) addRow(tally, placeOf(index), rows[index], measures)
      for (const { sums } of sealedOf.get(bucket) ?? []) addSealed(sums, wanted, into)
      for (const taken of tally.take()) if ((taken.counts[needed] ?? 0) > 0) yield taken
    },
  }
}

function addRow(
  tally: UsageTally,
  place: number,
  row: SumRow<UsageMeasure> | undefined,
  measures: readonly UsageMeasure[],
) {
  tally.touch(place)
  for (const [index, name] of measures.entries()) {
    const at = place * tally.width + index
    tally.values[at] = (tally.values[at] ?? 0) + Number(row?.[name] ?? 0)
  }
}

type Named = Partial<Record<Exclude<UsageDimension, 'batch'>, string | null>> & { readonly batch?: boolean | null }

/** '' is how sealed groups say none, and the tier that calls have when nothing else is said. */
const groupBy =
  (dimensions: readonly UsageDimension[]) =>
  (named: Named): UsageGroup => {
    const group: Record<UsageDimension, string | boolean | null> = { ...ungrouped }
    for (const name of dimensions) {
      if (name === 'batch') group.batch = named.batch ?? named.service_tier === 'batch'
      else group[name] = named[name] || (name === 'service_tier' ? 'default' : null)
    }
    // Each has been given what its dimension is of
    return group as UsageGroup
  }

const ungrouped: UsageGroup = {
  project_id: null,
  user_id: null,
  api_key_id: null,
  model: null,
  endpoint: null,
  service_tier: null,
  batch: null,
}

/** Each group once, in order; and the place of each that was given. */
function placesOf(given: readonly UsageGroup[]): { groups: UsageGroup[]; placeOf(index: number): number } {
  const keys = given.map(group => usageDimensions.map(name => group[name] ?? '').join('\0'))
  const byKey = new Map(keys.map((key, index) => [key, given[index] ?? ungrouped]))
  const sorted = [...byKey.keys()].sort()
  const places = new Map(sorted.map((key, place) => [key, place]))
  return {
    groups: sorted.map(key => byKey.get(key) ?? ungrouped),
    placeOf: index => places.get(keys[index] ?? '') ?? 0,
  }
}
