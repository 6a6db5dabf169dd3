/** A stretch of time cut along the grid of minutes, hours or days (UTC), page by page. Pure. */
import { apiError } from '#contract/errors.ts'

/** `grid` is where the whole bucket begins; the first and the last of a period may be cut short. Seconds since 1970. */
export type Bucket = { readonly grid: number; readonly start: number; readonly end: number }

export type Period = {
  readonly start: number
  readonly end: number
  readonly bucketSeconds: number
  /** How many buckets, at most. */
  readonly limit: number
  readonly page: string | undefined
}

export function bucketsOf({ start, end, bucketSeconds, limit, page }: Period): Bucket[] {
  if (end <= start) throw invalid('end_time', "Invalid 'end_time': it must be later than start_time.")
  const buckets: Bucket[] = []
  let from = page === undefined ? start : readPage(page, start)
  while (from < end && buckets.length < limit) {
    const grid = Math.floor(from / bucketSeconds) * bucketSeconds
    const bucket = { grid, start: from, end: Math.min(end, grid + bucketSeconds) }
    buckets.push(bucket)
    from = bucket.end
  }
  return buckets
}

const pagePrefix = 'page_'

export const nextPage = ({ end }: Bucket): string => pagePrefix + Buffer.from(String(end)).toString('base64url')

function readPage(page: string, start: number): number {
  const text = Buffer.from(page.slice(pagePrefix.length), 'base64url').toString()
  const from = page.startsWith(pagePrefix) && /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN
  if (!(from >= start)) throw invalid('page', "Invalid 'page': send the next_page of the page before, unchanged.")
  return from
}

const invalid = (param: string, message: string): Error =>
  apiError('invalid_parameter', { param, message, code: 'invalid_value' })
