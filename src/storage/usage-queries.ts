/**
 * What was used, summed up in buckets of time: rollups, as far as they go, and the single events that are not in them yet.
 * Both are seen in one snapshot, so a page is exact at any moment, in the middle of a roll-up too.
 */
import type { OrganizationId } from '#contract/ids.ts'
import { only, prepared, type Queryable, type Statement, sql } from './database.ts'
import { rollupSeconds, type Segment } from './usage-segments.ts'

/** What usage can be grouped by. `batch` is whether the service tier is that of batches. */
export const usageDimensions = [
  'project_id',
  'user_id',
  'api_key_id',
  'model',
  'endpoint',
  'service_tier',
  'batch',
] as const
export type UsageDimension = (typeof usageDimensions)[number]

/** Columns of the rollups, and of the view usage_by_minute. */
export const usageMeasures = [
  'requests',
  'input_tokens',
  'cached_input_tokens',
  'cache_write_tokens',
  'audio_input_tokens',
  'cached_audio_input_tokens',
  'image_input_tokens',
  'cached_image_input_tokens',
  'output_tokens',
  'reasoning_tokens',
  'audio_output_tokens',
  'image_output_tokens',
  'charged_nano_usd',
  'overrun_nano_usd',
  'web_search_calls',
  'web_search_requests',
  'file_search_calls',
  'code_interpreter_calls',
] as const
export type UsageMeasure = (typeof usageMeasures)[number]

/** Each one that is left out, or undefined, lets everything through. */
export type UsageFilters = {
  readonly project_id?: readonly string[] | undefined
  readonly user_id?: readonly string[] | undefined
  readonly api_key_id?: readonly string[] | undefined
  readonly model?: readonly string[] | undefined
  readonly endpoint?: readonly string[] | undefined
  readonly batch?: boolean | undefined
}

export type UsageQuestion<Measure extends UsageMeasure = UsageMeasure> = {
  readonly organizationId: OrganizationId
  /** Inclusive, and exclusive; seconds since 1970. */
  readonly from: number
  readonly to: number
  /** A minute, an hour or a day. */
  readonly bucketSeconds: number
  /** Seconds since 1970: minutes are kept for a month. */
  readonly now: number
  readonly groupBy: readonly UsageDimension[]
  readonly filters: UsageFilters
  readonly measures: readonly Measure[]
  /** Leaves out groups that have none of this. */
  readonly having?: Measure
}

/** Sums of one bucket and group. Dimensions that were not grouped by are null, and so is a user whom there is not. */
export type UsageSum<Measure extends UsageMeasure = UsageMeasure> = { readonly [Name in Measure]: bigint } & {
  readonly [Name in Exclude<UsageDimension, 'batch'>]: string | null
} & {
  readonly batch: boolean | null
  /** Where the bucket begins on the grid of its width; seconds since 1970. */
  readonly bucket: number
}

export type SumRow<Measure extends UsageMeasure> = Omit<UsageSum<Measure>, 'bucket'> & { readonly bucket: bigint }

export const beginSnapshot = sql('set transaction isolation level repeatable read, read only')

/** How far the rollups are. Asked for first, so that the plan knows how little is left. */
export type Mark = {
  /** They hold all events of transactions before this one. */
  readonly settledBefore: string
  /** Seconds since 1970: later ones are in the minutes alone, and not in hours and days. */
  readonly addedUpBefore: number
}

export async function readMark(snapshot: Queryable): Promise<Mark> {
  const row = only(await snapshot.query<{ settled_before: string; added_up_before: Date }>(mark))
  return { settledBefore: row.settled_before, addedUpBefore: row.added_up_before.getTime() / 1000 }
}
const mark = prepared('usage_mark', 'select settled_before::text, added_up_before from usage_rolled_up')

export const toSum = <Measure extends UsageMeasure>(row: SumRow<Measure>): UsageSum<Measure> =>
  // Every member but this one is there already; TypeScript cannot add up a generic rest
  ({ ...row, bucket: Number(row.bucket) }) as UsageSum<Measure>

export type From = {
  readonly mark: Mark
  readonly segments: readonly Segment[]
  /** Left out: all. */
  readonly rowsMax?: number
}

/** Sorted by bucket, then by what it is grouped by. Everything glued into the text is a name of ours. */
export function usageStatement(
  question: UsageQuestion,
  { mark, segments, rowsMax }: From,
): { statement: Statement; values: unknown[] } {
  const { organizationId, bucketSeconds, groupBy, measures, having } = question
  const values: unknown[] = [organizationId]
  const give = (value: unknown): string => `$${values.push(value)}`
  const width = `make_interval(secs => ${give(bucketSeconds)})`
  const settledBefore = give(mark.settledBefore)
  const asked = { ...question, width, settledBefore, condition: conditionOf(question.filters, give), give }
  const read = segments.flatMap(segment => withMinutes(segment, mark))
  const parts = [...read.map(segment => partOf(segment, asked)), newPart(asked)]
  const groups = usageDimensions.filter(dimension => groupBy.includes(dimension))
  const keys = ['used.bucket', ...groups.map(name => `used.${name}`)].join(', ')
  const text = `select extract(epoch from used.bucket)::bigint as bucket,
      ${usageDimensions.map(name => shown(name, groups.includes(name))).join(', ')},
      ${measures.map(name => `coalesce(total(${name}), 0) as ${name}`).join(', ')}
    from (${parts.join('\n      union all ')}) used
    group by ${keys} ${having === undefined ? '' : `having total(${having}) > 0`}
    order by ${keys}${rowsMax === undefined ? '' : ` limit ${give(rowsMax)}`}`
  return { statement: sql(text), values }
}

/** '' is how the rollups say none. */
function shown(dimension: UsageDimension, isGrouped: boolean): string {
  if (dimension === 'batch') return isGrouped ? 'used.batch' : 'null::boolean as batch'
  if (!isGrouped) return `null::text as ${dimension}`
  if (dimension === 'service_tier') return `coalesce(nullif(used.service_tier, ''), 'default') as service_tier`
  return `nullif(used.${dimension}, '') as ${dimension}`
}

type Give = (value: unknown) => string
type Asked = UsageQuestion & {
  readonly width: string
  readonly settledBefore: string
  readonly condition: string
  readonly give: Give
}

const filtered = ['project_id', 'user_id', 'api_key_id', 'model', 'endpoint'] as const

/** On `g`: a group of the rollups, or an event, which names the same. */
export function conditionOf(filters: UsageFilters, give: Give): string {
  const lists = filtered.flatMap(name => (filters[name] ? [`g.${name} = any (${give(filters[name])}::text[])`] : []))
  const batch = filters.batch === undefined ? [] : [`(g.service_tier = 'batch') = ${give(filters.batch)}::boolean`]
  return [...lists, ...batch].map(condition => ` and ${condition}`).join('')
}

/** What every part of the union has, in one order. */
function columnsOf({ groupBy, measures }: Asked, rows: 'r' | 'g' | '-g', bucket: string): string {
  const groups = usageDimensions.filter(dimension => groupBy.includes(dimension))
  const named = groups.map(name => (name === 'batch' ? `g.service_tier = 'batch' as batch` : `g.${name}`))
  return [`${bucket} as bucket`, ...named, ...measures.map(name => `${rows}.${name}`)].join(', ')
}

const bucketOf = (moment: string, { width }: Asked): string => `date_bin(${width}, ${moment}, to_timestamp(0))`

/** Hours and days, with the minutes that are not in them yet. */
function withMinutes(segment: Segment, { addedUpBefore }: Mark): Segment[] {
  const { source, from, to, starts } = segment
  if (source !== 'usage_hours' && source !== 'usage_days') return [segment]
  const stretches = starts?.map(start => ({ from: start, to: start + rollupSeconds[source] })) ?? [{ from, to }]
  const open = stretches.filter(stretch => stretch.to > addedUpBefore)
  return [
    segment,
    ...open.map(stretch => ({
      source: 'usage_minutes' as const,
      from: Math.max(stretch.from, addedUpBefore),
      to: stretch.to,
    })),
  ]
}

function partOf(segment: Segment, asked: Asked): string {
  const { source, from, to } = segment
  const { condition, give, bucketSeconds } = asked
  const within = (column: string): string =>
    `${column} >= to_timestamp(${give(from)}) and ${column} < to_timestamp(${give(to)})`
  if (source === 'usage_events') {
    const rolledUp = `and (g.settled_in is null or g.settled_in < ${asked.settledBefore}::xid8)`
    return `select ${columnsOf(asked, segment.isTakenAway ? '-g' : 'g', bucketOf('g.occurred_at', asked))}
      from usage_by_minute g where g.organization_id = $1 and ${within('g.occurred_at')}
        ${segment.isTakenAway ? '' : rolledUp}${condition}`
  }
  const isBucket = rollupSeconds[source] === bucketSeconds
  const bucket = isBucket ? 'r.starts_at' : bucketOf('r.starts_at', asked)
  const starts = segment.starts?.map(start => new Date(start * 1000))
  return `select ${columnsOf(asked, 'r', bucket)} from usage_groups g join ${source} r on r.group_id = g.id
    where r.organization_number = (select number from usage_organizations where organization_id = $1)
      and g.organization_number = (select number from usage_organizations where organization_id = $1)
      and ${starts ? `r.starts_at = any (${give(starts)}::timestamptz[])` : within('r.starts_at')}${condition}`
}

/**
 * What came since the last roll-up, whenever it was called. `offset 0` keeps the organization out of the search for it: the
 * index has found the few that are new before anybody asks whose they are.
 */
function newPart(asked: Asked): string {
  const { from, to, settledBefore, condition, give } = asked
  return `select ${columnsOf(asked, 'g', bucketOf('g.occurred_at', asked))} from (
      select * from usage_by_minute where settled_in >= ${settledBefore}::xid8
        and occurred_at >= to_timestamp(${give(from)}) and occurred_at < to_timestamp(${give(to)}) offset 0) g
    where g.organization_id = $1${condition}`
}
