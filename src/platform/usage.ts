/** Usage and costs, in buckets of time. */
import { apiError } from '#contract/errors.ts'
import type { OrganizationId } from '#contract/ids.ts'
import { bucketWidths, costBuckets, type usage } from '#contract/usage.ts'
import { usdNumber } from '#core/money.ts'
import { readUsage, type UsageDimension, type UsageQuestion, type UsageSum } from '#storage/usage-queries.ts'
import type { Handlers } from './handler.ts'
import type { PlatformParts } from './platform.ts'
import { type Bucket, bucketsOf, nextPage } from './usage-buckets.ts'

/** As usage records name them. */
const completionEndpoints = ['chat.completions', 'completions']
const embeddingEndpoints = ['embeddings']

export const usageHandlers: Handlers<typeof usage> = {
  async completions(parts, { grant, query }) {
    const groups = new Set<string>(query.group_by)
    // Nothing runs in batches: asked for batches only, there is no usage
    if (query.batch === true) return page(parts, ask(grant.organizationId, query, []), () => [])
    const question = ask(grant.organizationId, query, completionEndpoints)
    return page(parts, question, sums => sums.map(sum => completionsResult(sum, groups)))
  },

  async embeddings(parts, { grant, query }) {
    return page(parts, ask(grant.organizationId, query, embeddingEndpoints), sums => sums.map(embeddingsResult))
  },

  async costs(parts, { grant: { organizationId }, query }) {
    const groups = query.group_by?.map(group => (group === 'line_item' ? 'model' : group))
    const { project_ids, user_ids, api_key_ids, line_items: models } = query
    const filters = { project_ids, user_ids, api_key_ids, models }
    const question = ask(organizationId, { ...query, ...filters, group_by: groups }, [], costBuckets)
    return page(parts, question, sums => sums.map(costsResult))
  },
}

type UsageQuery = {
  readonly start_time: number
  readonly end_time?: number | undefined
  readonly page?: string | undefined
  readonly limit?: number | undefined
  readonly bucket_width: keyof typeof bucketWidths
  readonly group_by?: readonly string[] | undefined
  readonly project_ids?: string[] | undefined
  readonly user_ids?: string[] | undefined
  readonly api_key_ids?: string[] | undefined
  readonly models?: string[] | undefined
}

type Asked = Pick<UsageQuestion, 'organizationId' | 'endpoints' | 'groupBy' | 'filters'> & {
  readonly start: number
  readonly end: number | undefined
  readonly page: string | undefined
  readonly limit: number
  readonly bucketSeconds: number
}

const dimensions: readonly UsageDimension[] = ['project_id', 'user_id', 'api_key_id', 'model']

type Width = { readonly seconds: number; readonly limitDefault: number; readonly limitMax: number }

function ask(
  organizationId: OrganizationId,
  query: UsageQuery,
  endpoints: readonly string[],
  width: Width = bucketWidths[query.bucket_width],
): Asked {
  return {
    organizationId,
    endpoints,
    groupBy: dimensions.filter(dimension => query.group_by?.includes(dimension)),
    filters: {
      project_id: query.project_ids,
      user_id: query.user_ids,
      api_key_id: query.api_key_ids,
      model: query.models,
    },
    start: query.start_time,
    end: query.end_time,
    page: query.page,
    limit: checkedLimit(query.limit ?? width.limitDefault, width, query.bucket_width),
    bucketSeconds: width.seconds,
  }
}

function checkedLimit(limit: number, { limitMax }: Width, name: string): number {
  if (limit <= limitMax) return limit
  const message = `Invalid 'limit': with bucket_width ${name} it is at most ${limitMax}.`
  throw apiError('invalid_parameter', { param: 'limit', message, code: 'invalid_value' })
}

async function page<Result>(
  { database, wallClock }: PlatformParts,
  asked: Asked,
  toResults: (sums: readonly UsageSum[]) => Result[],
) {
  const end = asked.end ?? Math.ceil(wallClock() / 1000)
  const buckets = bucketsOf({ ...asked, end })
  const [first, last] = [buckets[0], buckets.at(-1)]
  if (!first || !last) return { object: 'page' as const, data: [], has_more: false, next_page: null }
  const question = { ...asked, from: first.start, to: last.end }
  const sums = Map.groupBy(await readUsage(database, question), ({ bucket }) => bucket)
  return {
    object: 'page' as const,
    data: buckets.map(bucket => toBucket(bucket, toResults(sums.get(bucket.grid) ?? []))),
    has_more: last.end < end,
    next_page: last.end < end ? nextPage(last) : null,
  }
}

const toBucket = <Result>({ start, end }: Bucket, results: Result[]) => ({
  object: 'bucket' as const,
  start_time: start,
  end_time: end,
  results,
})

/** Everything is text until models hear and see; no call is part of a batch, or of a tier that was paid for apart. */
const completionsResult = (sum: UsageSum, groups: ReadonlySet<string>) => ({
  object: 'organization.usage.completions.result' as const,
  input_tokens: sum.inputTokens,
  input_cached_tokens: sum.cachedInputTokens,
  input_uncached_tokens: sum.inputTokens - sum.cachedInputTokens,
  input_cache_write_tokens: 0,
  input_text_tokens: sum.inputTokens,
  input_cached_text_tokens: sum.cachedInputTokens,
  input_audio_tokens: 0,
  input_cached_audio_tokens: 0,
  input_image_tokens: 0,
  input_cached_image_tokens: 0,
  output_tokens: sum.outputTokens,
  output_text_tokens: sum.outputTokens,
  output_audio_tokens: 0,
  output_image_tokens: 0,
  num_model_requests: sum.requests,
  ...who(sum),
  model: sum.model,
  batch: groups.has('batch') ? false : null,
  service_tier: groups.has('service_tier') ? 'default' : null,
})

const embeddingsResult = (sum: UsageSum) => ({
  object: 'organization.usage.embeddings.result' as const,
  input_tokens: sum.inputTokens,
  num_model_requests: sum.requests,
  ...who(sum),
  model: sum.model,
})

/** A line item is a model; how much of it was used is only said of a line item. */
const costsResult = (sum: UsageSum) => ({
  object: 'organization.costs.result' as const,
  amount: { value: usdNumber(sum.charged), currency: 'usd' as const },
  line_item: sum.model,
  ...who(sum),
  quantity: sum.model === null ? null : sum.inputTokens + sum.outputTokens,
  quantity_unit: sum.model === null ? null : ('tokens' as const),
})

const who = ({ project_id, user_id, api_key_id }: UsageSum) => ({ project_id, user_id, api_key_id })
