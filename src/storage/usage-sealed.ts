/**
 * Hours and days that are over, summed up for every way of grouping them (see migrations/0010-usage-pages.sql): which of them
 * a page needs, and what stands in them. A bucket that is not sealed is read from its rollup, so that a page is exact whatever
 * is sealed and what is not.
 */
import { only, type Queryable, sql } from './database.ts'
import { conditionOf, type UsageDimension, type UsageMeasure, type UsageQuestion } from './usage-queries.ts'
import { rollupSeconds } from './usage-segments.ts'
import type { UsageTally } from './usage-tally.ts'

/** As they stand in a sealed bucket, after the number of the group. */
const columns = [
  'requests',
  'input_tokens',
  'output_tokens',
  'charged_nano_usd',
  'cached_input_tokens',
  'cache_write_tokens',
  'audio_input_tokens',
  'cached_audio_input_tokens',
  'image_input_tokens',
  'cached_image_input_tokens',
  'reasoning_tokens',
  'audio_output_tokens',
  'image_output_tokens',
  'overrun_nano_usd',
  'web_search_calls',
  'web_search_requests',
  'file_search_calls',
  'code_interpreter_calls',
] as const satisfies readonly UsageMeasure[]

/** What usage is sealed by, and the bit that is set where it is not. Endpoint and tier are told apart in all of it. */
const bits = [
  ['project_id', 8],
  ['user_id', 4],
  ['api_key_id', 2],
  ['model', 1],
] as const

/** The coarsest way of grouping that tells apart what is grouped and filtered by. That by key knows its project and user. */
export function groupingOf({ groupBy, filters }: Pick<UsageQuestion, 'groupBy' | 'filters'>): number {
  const isAsked = (name: (typeof bits)[number][0]): boolean => groupBy.includes(name) || filters[name] !== undefined
  const byKey = isAsked('api_key_id')
  const told = bits.filter(([name]) => isAsked(name) || (byKey && name !== 'model'))
  return told.reduce((left, [, bit]) => left - bit, 15)
}

export type SealedWidth = 'minute' | 'hour' | 'day'
/** Where it starts, in seconds since 1970. */
export type SealedBucket = { readonly startsAt: number; readonly sums: string }

export type SealedStretch = { readonly width: SealedWidth; readonly from: number; readonly to: number }

const ofOrganization = 'organization_number = (select number from usage_organizations where organization_id = $1)'

const sealedIn = (what: string) =>
  sql(`select extract(epoch from starts_at)::bigint as starts_at, ${what} from usage_sealed
    where ${ofOrganization} and grouping = $2 and width = $3 and starts_at >= to_timestamp($4) and starts_at < to_timestamp($5)
    order by starts_at`)
const sealedSizes = sealedIn('octet_length(sums) as bytes')
const sealedSums = sealedIn('sums')

/** Rows of minutes start where their hours do. */
const valuesOf = ({ organizationId, ...question }: UsageQuestion, { width, from, to }: SealedStretch): unknown[] => [
  organizationId,
  groupingOf(question),
  width,
  width === 'minute' ? from - (from % rollupSeconds.usage_hours) : from,
  to,
]

/** How large each sealed bucket is; those that are not in the answer are not sealed. */
export async function readSealedSizes(
  snapshot: Queryable,
  question: UsageQuestion,
  stretch: SealedStretch,
): Promise<ReadonlyMap<number, number>> {
  type Row = { starts_at: bigint; bytes: number }
  const rows = await snapshot.query<Row>(sealedSizes, valuesOf(question, stretch))
  return new Map(rows.map(({ starts_at, bytes }) => [Number(starts_at), bytes]))
}

export async function readSealedSums(
  snapshot: Queryable,
  question: UsageQuestion,
  stretch: SealedStretch,
): Promise<SealedBucket[]> {
  const rows = await snapshot.query<{ starts_at: bigint; sums: string }>(sealedSums, valuesOf(question, stretch))
  const buckets = rows.map(({ starts_at, sums }) => ({ startsAt: Number(starts_at), sums }))
  if (stretch.width !== 'minute') return buckets
  const { from, to } = stretch
  return buckets.flatMap(minutesOf).filter(({ startsAt }) => startsAt >= from && startsAt < to)
}

/** An hour's minutes stand in one row. */
function minutesOf({ startsAt, sums }: SealedBucket): SealedBucket[] {
  return sums.split('|').map(text => {
    const colon = text.indexOf(':')
    return {
      startsAt: startsAt + Number(text.slice(0, colon)) * rollupSeconds.usage_minutes,
      sums: text.slice(colon + 1),
    }
  })
}

/** A group of sealed buckets: what it is grouped by, and '' where that is none. */
export type SealedGroup = { readonly id: number } & { readonly [Name in Exclude<UsageDimension, 'batch'>]?: string }

/** Those that the filters let through. */
export async function readSealedGroups(snapshot: Queryable, question: UsageQuestion): Promise<SealedGroup[]> {
  const values: unknown[] = [question.organizationId, groupingOf(question)]
  const condition = conditionOf(question.filters, value => `$${values.push(value)}`)
  const names = question.groupBy.map(name => (name === 'batch' ? 'service_tier' : name))
  const text = `select ${['id', ...new Set(names)].join(', ')} from usage_sealed_groups g
    where ${ofOrganization} and grouping = $2${condition}`
  return snapshot.query<SealedGroup>(sql(text), values)
}

/** How many groups there are, and how many of them the filters let through. */
export async function countSealedGroups(
  snapshot: Queryable,
  question: UsageQuestion,
): Promise<{ all: number; asked: number }> {
  const values: unknown[] = [question.organizationId, groupingOf(question)]
  const condition = conditionOf(question.filters, value => `$${values.push(value)}`)
  const text = `select count(*)::integer as all, (count(*) filter (where true${condition}))::integer as asked
    from usage_sealed_groups g where ${ofOrganization} and grouping = $2`
  return only(await snapshot.query<{ all: number; asked: number }>(sql(text), values))
}

/** For each column of a sealed bucket which of the measures it is; -1 where it is none. */
export const wantedOf = (measures: readonly UsageMeasure[]): Int32Array =>
  Int32Array.from(columns, column => measures.indexOf(column))

type Into = {
  /** Where in the tally a sealed group belongs. Those that are not here are not asked for. */
  readonly places: ReadonlyMap<number, number>
  readonly tally: UsageTally
}

const [zero, nine, comma] = [48, 57, 44]

/** Reads "group,value,value;group,value" byte by byte, without a text for each: large pages are made of millions. */
export function addSealed(sums: string, wanted: Int32Array, { places, tally }: Into): void {
  // Of bytes each is a load; of a text each is a question what kind of text it is
  const bytes = Buffer.from(sums, 'latin1')
  const { values, width } = tally
  let at = 0
  while (at < bytes.length) {
    let code = bytes[at] ?? 0
    let group = 0
    for (; code >= zero && code <= nine; code = bytes[++at] ?? 0) group = group * 10 + code - zero
    const place = places.get(group)
    if (place !== undefined) tally.touch(place)
    for (let column = 0; code === comma; column += 1) {
      let value = 0
      code = bytes[++at] ?? 0
      for (; code >= zero && code <= nine; code = bytes[++at] ?? 0) value = value * 10 + code - zero
      const measure = wanted[column] ?? -1
      if (place === undefined || measure < 0) continue
      const index = place * width + measure
      values[index] = (values[index] ?? 0) + value
    }
    // The semicolon
    at += 1
  }
}
