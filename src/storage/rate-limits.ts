/** Rate limits that were set for an organization or a project. */
import type { OrganizationId, ProjectId } from '#contract/ids.ts'
import { type LimitDimension, limitDimensions } from '#contract/rate-limits.ts'
import { type Queryable, sql } from './database.ts'

export type Limits = { readonly [Dimension in LimitDimension]?: number | undefined }

const columns = {
  max_requests_per_1_minute: 'requests_per_minute',
  max_tokens_per_1_minute: 'tokens_per_minute',
  max_images_per_1_minute: 'images_per_minute',
  max_audio_megabytes_per_1_minute: 'audio_megabytes_per_minute',
  max_requests_per_1_day: 'requests_per_day',
  batch_1_day_max_input_tokens: 'batch_input_tokens_per_day',
} as const satisfies Record<LimitDimension, string>

const named = limitDimensions.map(dimension => `${columns[dimension]} as ${dimension}`).join(', ')
const selectLimits = sql(`select model, ${named} from rate_limits where scope_id = $1`)

type LimitRow = { model: string } & { [Dimension in LimitDimension]: number | bigint | null }

/** By model; '*' for all the others. */
export async function readLimits(
  database: Queryable,
  scope: OrganizationId | ProjectId,
): Promise<ReadonlyMap<string, Limits>> {
  const rows = await database.query<LimitRow>(selectLimits, [scope])
  return new Map(rows.map(row => [row.model, toLimits(row)]))
}

const toLimits = (row: LimitRow): Limits =>
  Object.fromEntries(limitDimensions.flatMap(name => (row[name] === null ? [] : [[name, Number(row[name])]])))

const columnNames = limitDimensions.map(dimension => columns[dimension])
const upsertLimits = sql(`insert into rate_limits (scope_id, model, ${columnNames.join(', ')})
  values ($1, $2, ${columnNames.map((_, index) => `$${index + 3}`).join(', ')})
  on conflict (scope_id, model) do update set
    ${columnNames.map(column => `${column} = coalesce(excluded.${column}, rate_limits.${column})`).join(', ')}`)

/** Sets what is given and leaves the rest as it was. */
export async function setLimits(
  tx: Queryable,
  scope: OrganizationId | ProjectId,
  model: string,
  limits: Limits,
): Promise<void> {
  await tx.query(upsertLimits, [scope, model, ...limitDimensions.map(dimension => limits[dimension] ?? null)])
}
