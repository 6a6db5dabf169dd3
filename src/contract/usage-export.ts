/** Usage and costs as files, whole: for spreadsheets and for other people's books. */
import { z } from 'zod'
import type { Endpoints } from './endpoint.ts'
import { queryArray, queryBoolean } from './lists.ts'
import { usageFilters, usageSpan } from './usage.ts'

export const exportFormats = {
  csv: 'text/csv; charset=utf-8',
  json: 'application/json',
  jsonl: 'application/x-ndjson',
} as const
export type ExportFormat = keyof typeof exportFormats

// keys() forgets that these are the keys of the table above
const formats = Object.keys(exportFormats) as [ExportFormat, ...ExportFormat[]]

const usageGroups = ['project_id', 'user_id', 'api_key_id', 'model', 'endpoint', 'batch', 'service_tier'] as const
const costGroups = ['project_id', 'user_id', 'api_key_id', 'line_item'] as const

const common = {
  ...usageSpan,
  format: z.enum(formats).default('csv').describe('jsonl is one JSON object a line.'),
}
const endpointNames = queryArray(z.string().min(1).max(64)).optional()

export const usageExport = {
  usage: {
    method: 'GET',
    path: '/v1/organization/usage/export',
    summary: 'Usage of all kinds, one row a bucket and group. Buckets without usage have no row.',
    scope: 'api.usage.read',
    query: z.strictObject({
      ...common,
      ...usageFilters,
      endpoints: endpointNames.describe('As in chat.completions.'),
      batch: queryBoolean.optional(),
      bucket_width: z.enum(['1m', '1h', '1d']).default('1d'),
      group_by: queryArray(z.enum(usageGroups)).default(['project_id', 'user_id', 'api_key_id', 'model', 'endpoint']),
    }),
    answer: { contentType: exportFormats.csv, about: 'CSV, or JSON where the format says so.' },
  },
  costs: {
    method: 'GET',
    path: '/v1/organization/costs/export',
    summary: 'What the organization was charged, one row a day and group. Days without charges have no row.',
    scope: 'api.usage.read',
    query: z.strictObject({
      ...common,
      project_ids: usageFilters.project_ids,
      user_ids: usageFilters.user_ids,
      api_key_ids: usageFilters.api_key_ids,
      line_items: usageFilters.models,
      group_by: queryArray(z.enum(costGroups)).default(['project_id', 'api_key_id', 'line_item']),
    }),
    answer: { contentType: exportFormats.csv, about: 'CSV, or JSON where the format says so.' },
  },
} as const satisfies Endpoints
