/** Usage and costs, in buckets of time. */
import { apiError } from '#contract/errors.ts'
import type { OrganizationId } from '#contract/ids.ts'
import { bucketWidths, costBuckets, type usage } from '#contract/usage.ts'
import { readUsage } from '#storage/usage-pages.ts'
import { type UsageDimension, type UsageFilters, usageDimensions } from '#storage/usage-queries.ts'
import { type Handlers, JsonPieces } from './handler.ts'
import type { PlatformParts } from './platform.ts'
import { type Bucket, bucketsOf, nextPage } from './usage-buckets.ts'
import { pageJson } from './usage-json.ts'
import {
  codeInterpreterResult,
  completionsResult,
  costsResult,
  embeddingsResult,
  fileSearchResult,
  type ResultOf,
  webSearchResult,
} from './usage-results.ts'

/** As usage records name them. */
const completionEndpoints = ['chat.completions', 'completions']
const embeddingEndpoints = ['embeddings']

export const usageHandlers: Handlers<typeof usage> = {
  completions: (parts, { grant, query }) =>
    page(parts, ask(grant.organizationId, query, completionEndpoints), completionsResult),
  embeddings: (parts, { grant, query }) =>
    page(parts, ask(grant.organizationId, query, embeddingEndpoints), embeddingsResult),
  codeInterpreterSessions: (parts, { grant, query }) =>
    page(parts, ask(grant.organizationId, query), codeInterpreterResult),
  fileSearchCalls: (parts, { grant, query }) => page(parts, ask(grant.organizationId, query), fileSearchResult),
  webSearchCalls: (parts, { grant, query }) => page(parts, ask(grant.organizationId, query), webSearchResult),

  // No call of these kinds can have been made
  moderations: async (parts, { grant, query }) => nothing(parts, ask(grant.organizationId, query)),
  images: async (parts, { grant, query }) => nothing(parts, ask(grant.organizationId, query)),
  audioSpeeches: async (parts, { grant, query }) => nothing(parts, ask(grant.organizationId, query)),
  audioTranscriptions: async (parts, { grant, query }) => nothing(parts, ask(grant.organizationId, query)),
  vectorStores: async (parts, { grant, query }) => nothing(parts, ask(grant.organizationId, query)),
  decisions: async (parts, { grant, query }) => nothing(parts, ask(grant.organizationId, query)),

  costs(parts, { grant: { organizationId }, query }) {
    const { project_ids, user_ids, api_key_ids, line_items: models } = query
    const costs = { ...query, group_by: query.group_by?.map(columnOfCosts), project_ids, user_ids, api_key_ids, models }
    const asked = ask(organizationId, costs, undefined, costBuckets)
    return page(parts, asked, costsResult({ byLineItem: asked.groupBy.includes('model') }))
  },
}

/** A line item is a model. */
export const columnOfCosts = <Group extends string>(group: Group | 'line_item'): Group | 'model' =>
  group === 'line_item' ? 'model' : group

type UsageQuery = {
  readonly start_time: number
  readonly end_time?: number | undefined
  readonly page?: string | undefined
  readonly limit?: number | undefined
  readonly bucket_width: keyof typeof bucketWidths
  readonly group_by?: readonly string[] | undefined
  readonly batch?: boolean | undefined
} & FilterQuery

export type FilterQuery = {
  readonly project_ids?: string[] | undefined
  readonly user_ids?: string[] | undefined
  readonly api_key_ids?: string[] | undefined
  readonly models?: string[] | undefined
}

type Asked = {
  readonly organizationId: OrganizationId
  readonly groupBy: readonly UsageDimension[]
  readonly filters: UsageFilters
  readonly start: number
  readonly end: number | undefined
  readonly page: string | undefined
  readonly limit: number
  readonly bucketSeconds: number
}

type Width = { readonly seconds: number; readonly limitDefault: number; readonly limitMax: number }

function ask(
  organizationId: OrganizationId,
  query: UsageQuery,
  endpoints?: readonly string[],
  width: Width = bucketWidths[query.bucket_width],
): Asked {
  return {
    organizationId,
    groupBy: usageDimensions.filter(dimension => query.group_by?.includes(dimension)),
    filters: { ...filtersOf(query), endpoint: endpoints, batch: query.batch },
    start: query.start_time,
    end: query.end_time,
    page: query.page,
    limit: checkedLimit(query.limit ?? width.limitDefault, width, query.bucket_width),
    bucketSeconds: width.seconds,
  }
}

export const filtersOf = (query: FilterQuery): UsageFilters => ({
  project_id: query.project_ids,
  user_id: query.user_ids,
  api_key_id: query.api_key_ids,
  model: query.models,
})

function checkedLimit(limit: number, { limitMax }: Width, name: string): number {
  if (limit <= limitMax) return limit
  const message = `Invalid 'limit': with bucket_width ${name} it is at most ${limitMax}.`
  throw apiError('invalid_parameter', { param: 'limit', message, code: 'invalid_value' })
}

async function page(parts: PlatformParts, asked: Asked, result: ResultOf): Promise<JsonPieces> {
  const now = Math.ceil(parts.wallClock() / 1000)
  const { buckets, end } = bucketsAsked(asked, now)
  const [first, last] = [buckets[0], buckets.at(-1)]
  // Without an end all that is there is asked for, also what a clock before ours has dated a moment ahead
  const to = asked.end === undefined && last !== undefined ? last.grid + asked.bucketSeconds : (last?.end ?? end)
  const { measures, having } = result
  const question = { ...asked, now, from: first?.start ?? end, to, measures, ...(having !== undefined && { having }) }
  const read = await readUsage(parts.database, question)
  const shown = buckets.filter(bucket => bucket.start < read.to)
  return new JsonPieces(pageJson({ buckets: shown, next: nextAfter(shown, end), read, result }))
}

function nothing({ wallClock }: PlatformParts, asked: Asked) {
  const { buckets, end } = bucketsAsked(asked, Math.ceil(wallClock() / 1000))
  const next = nextAfter(buckets, end)
  const data = buckets.map(bucket => ({
    object: 'bucket' as const,
    start_time: bucket.start,
    end_time: bucket.end,
    results: [],
  }))
  return { object: 'page' as const, data, has_more: next !== null, next_page: next }
}

function bucketsAsked(asked: Asked, now: number): { buckets: Bucket[]; end: number } {
  const end = asked.end ?? now
  return { buckets: bucketsOf({ ...asked, end }), end }
}

function nextAfter(buckets: readonly Bucket[], end: number): string | null {
  const last = buckets.at(-1)
  return last !== undefined && last.end < end ? nextPage(last) : null
}
