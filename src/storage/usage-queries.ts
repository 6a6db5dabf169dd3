/** What was used, summed up in buckets of time. */
import type { OrganizationId } from '#contract/ids.ts'
import { type NanoUsd, nanoUsd } from '#core/money.ts'
import { type Queryable, sql } from './database.ts'

/** What usage can be grouped by; each is a column of usage_events of the same name. */
export type UsageDimension = 'project_id' | 'user_id' | 'api_key_id' | 'model'

export type UsageQuestion = {
  readonly organizationId: OrganizationId
  /** As usage records name them; empty is all. */
  readonly endpoints: readonly string[]
  /** Inclusive, and exclusive; seconds since 1970. */
  readonly from: number
  readonly to: number
  readonly bucketSeconds: number
  readonly groupBy: readonly UsageDimension[]
  readonly filters: { readonly [Dimension in UsageDimension]?: readonly string[] | undefined }
}

/** Sums of one bucket and group. Dimensions that were not grouped by are null. */
export type UsageSum = { readonly [Dimension in UsageDimension]: string | null } & {
  /** Where the bucket begins on the grid of its width. */
  readonly bucket: number
  readonly requests: number
  readonly inputTokens: number
  readonly cachedInputTokens: number
  readonly outputTokens: number
  readonly charged: NanoUsd
}

type SumRow = { readonly [Dimension in UsageDimension]: string | null } & {
  bucket: bigint
  requests: bigint
  input_tokens: bigint
  cached_input_tokens: bigint
  output_tokens: bigint
  charged: bigint
}

const dimensions = ['project_id', 'user_id', 'api_key_id', 'model'] as const satisfies readonly UsageDimension[]

/** Days are UTC: the grid begins in 1970, and a day has 86,400 seconds. */
const sumUsage = (groupBy: readonly UsageDimension[]): string => {
  const shown = dimensions.map(column => (groupBy.includes(column) ? column : `null::text as ${column}`))
  return `select (floor(extract(epoch from occurred_at) / $4::bigint) * $4::bigint)::bigint as bucket, ${shown.join(', ')},
      count(*) as requests, sum(input_tokens) as input_tokens, sum(cached_input_tokens) as cached_input_tokens,
      sum(output_tokens) as output_tokens, sum(charged_nano_usd)::bigint as charged
    from usage_events
    where organization_id = $1 and occurred_at >= to_timestamp($2) and occurred_at < to_timestamp($3)
      and (cardinality($5::text[]) = 0 or endpoint = any ($5))
      and ${dimensions.map((column, index) => `($${index + 6}::text[] is null or ${column} = any ($${index + 6}))`).join(' and ')}
    group by ${['1', ...groupBy].join(', ')} order by ${['1', ...groupBy].join(', ')}`
}

export async function readUsage(database: Queryable, question: UsageQuestion): Promise<UsageSum[]> {
  const { organizationId, from, to, bucketSeconds, endpoints, filters, groupBy } = question
  const rows = await database.query<SumRow>(sql(sumUsage(groupBy)), [
    organizationId,
    from,
    to,
    bucketSeconds,
    endpoints,
    ...dimensions.map(dimension => filters[dimension] ?? null),
  ])
  return rows.map(toSum)
}

/** Token counts stay far below 2^53; money does not become a float. */
const toSum = ({ bucket, requests, input_tokens, cached_input_tokens, output_tokens, charged, ...group }: SumRow) => ({
  ...group,
  bucket: Number(bucket),
  requests: Number(requests),
  inputTokens: Number(input_tokens),
  cachedInputTokens: Number(cached_input_tokens),
  outputTokens: Number(output_tokens),
  charged: nanoUsd(charged),
})
