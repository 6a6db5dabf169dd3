/** Rate limits that were set for an organization, a project or a key: a row a model, a column a dimension. */
import type { ApiKeyId, OrganizationId, ProjectId } from '#contract/ids.ts'
import { type Dimension, dimensionNames, type Limits, type LimitsByModel } from '#core/limit-dimensions.ts'
import { type Queryable, sql } from './database.ts'

export type LimitScope = OrganizationId | ProjectId | ApiKeyId

type Column = string & { readonly __column: Dimension }
// requestsPerMinute is in requests_per_minute
const columnOf = (dimension: Dimension): Column =>
  dimension.replaceAll(/[A-Z]/g, letter => `_${letter.toLowerCase()}`) as Column
const columns = dimensionNames.map(columnOf)

/** A row of the table; of JSON, where a bigint is a number. */
export type LimitsRow = {
  readonly scope_id: string
  readonly model: string
  readonly by_owner: boolean
} & Readonly<Record<Column, number | bigint | null>>

/** What was set for one scope, by model; '*' for all the others. @param byOwner what its owner set, beside what is granted */
export const limitsByModel = (
  rows: readonly LimitsRow[] | null,
  scope: string | null,
  byOwner = false,
): LimitsByModel =>
  new Map(
    (rows ?? [])
      .filter(row => row.scope_id === scope && row.by_owner === byOwner)
      .map(row => [row.model, limitsOf(row)] as const),
  )

const limitsOf = (row: LimitsRow): Limits =>
  Object.fromEntries(
    dimensionNames.flatMap(name => {
      const value = row[columnOf(name)]
      return value === null ? [] : [[name, Number(value)]]
    }),
  )

const selectLimits = sql(`select scope_id, model, by_owner, ${columns.join(', ')} from rate_limits where scope_id = $1`)

export const readLimits = async (database: Queryable, scope: LimitScope): Promise<LimitsByModel> =>
  limitsByModel(await database.query<LimitsRow>(selectLimits, [scope]), scope)

/** What the operator grants an organization, and what its owner set. */
export async function readOrganizationLimits(
  database: Queryable,
  organization: OrganizationId,
): Promise<{ readonly granted: LimitsByModel; readonly byOwner: LimitsByModel }> {
  const rows = await database.query<LimitsRow>(selectLimits, [organization])
  return { granted: limitsByModel(rows, organization), byOwner: limitsByModel(rows, organization, true) }
}

const upsertLimits = sql(`insert into rate_limits (scope_id, model, by_owner, ${columns.join(', ')})
  values ($1, $2, $3, ${columns.map((_, index) => `$${index + 4}`).join(', ')})
  on conflict (scope_id, model, by_owner) do update set
    ${columns.map(column => `${column} = coalesce(excluded.${column}, rate_limits.${column})`).join(', ')}`)

/** What is granted anew is no longer what the owner had lowered. */
const forgetOwners = sql(`update rate_limits set
    ${columns.map((column, index) => `${column} = case when $${index + 3}::bigint is null then ${column} end`).join(', ')}
  where scope_id = $1 and model = $2 and by_owner`)

/** Sets what is given and leaves the rest as it was. */
export async function setLimits(
  tx: Queryable,
  { scope, byOwner }: { readonly scope: LimitScope; readonly byOwner: boolean },
  model: string,
  limits: Limits,
): Promise<void> {
  const values = dimensionNames.map(name => limits[name] ?? null)
  await tx.query(upsertLimits, [scope, model, byOwner, ...values])
  if (!byOwner) await tx.query(forgetOwners, [scope, model, ...values])
}

const removeLimits = sql('delete from rate_limits where scope_id = $1 and model = $2 returning model')

/** @returns whether there was a row */
export async function deleteLimits(tx: Queryable, scope: LimitScope, model: string): Promise<boolean> {
  return (await tx.query(removeLimits, [scope, model])).length > 0
}
