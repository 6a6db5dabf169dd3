/** Rate limits that were set for an organization or a project. */
import type { OrganizationId, ProjectId } from '#contract/ids.ts'
import type { ScopeLimits } from '#core/grant.ts'
import { type Queryable, sql } from './database.ts'

export type SetLimits = ReadonlyMap<string, Partial<ScopeLimits>>
type LimitRow = { model: string; requests_per_minute: number | null; tokens_per_minute: bigint | null }

/** By model; '*' for all the others. */
export async function readLimits(database: Queryable, scope: OrganizationId | ProjectId): Promise<SetLimits> {
  const text = 'select model, requests_per_minute, tokens_per_minute from rate_limits where scope_id = $1'
  const rows = await database.query<LimitRow>(sql(text), [scope])
  return new Map(rows.map(row => [row.model, toLimits(row)]))
}

const toLimits = ({ requests_per_minute: requests, tokens_per_minute: tokens }: LimitRow): Partial<ScopeLimits> => ({
  ...(requests !== null && { requestsPerMinute: requests }),
  ...(tokens !== null && { tokensPerMinute: Number(tokens) }),
})

/** Sets what is given and leaves the rest as it was. */
export async function setLimits(
  tx: Queryable,
  scope: OrganizationId | ProjectId,
  model: string,
  limits: Partial<ScopeLimits>,
): Promise<void> {
  await tx.query(
    sql(`insert into rate_limits (scope_id, model, requests_per_minute, tokens_per_minute) values ($1, $2, $3, $4)
         on conflict (scope_id, model) do update set
           requests_per_minute = coalesce(excluded.requests_per_minute, rate_limits.requests_per_minute),
           tokens_per_minute = coalesce(excluded.tokens_per_minute, rate_limits.tokens_per_minute)`),
    [scope, model, limits.requestsPerMinute ?? null, limits.tokensPerMinute ?? null],
  )
}
