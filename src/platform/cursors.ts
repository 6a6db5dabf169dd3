/** Lists that go both ways: `after` the page before, `before` the page behind, never both. */
import { apiError } from '#contract/errors.ts'

export function oneCursor<Query extends { after?: string | undefined; before?: string | undefined }>(
  query: Query,
): Query {
  if (query.after !== undefined && query.before !== undefined) throw twoCursors()
  return query
}

const twoCursors = (): Error =>
  apiError('invalid_parameter', { param: 'before', message: "Send 'after' or 'before', not both." })
