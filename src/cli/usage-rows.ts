/** Usage and costs added up per model, project or key, from the pages of three endpoints. */
import { addUsd, type NanoUsd, zeroUsd } from '#core/money.ts'
import { readUsd } from './amounts.ts'
import type { Client } from './client.ts'
import { CliError } from './exit.ts'
import type { CompletionsUsage, Costs, EmbeddingsUsage, UsagePage } from './wire.ts'

export const dimensions = ['model', 'project', 'key'] as const
export type Dimension = (typeof dimensions)[number]

export type UsageRow = {
  /** The model's name, or the project's or key's id. Empty for the total. */
  readonly id: string
  readonly calls: number
  readonly input: number
  readonly output: number
  readonly cost: NanoUsd
}

type Span = { readonly start: number; readonly end: number }

/** How each dimension is called on the wire; costs know models as the beginning of their line items. */
const fields = {
  model: { usage: 'model', costs: 'line_item', idOfCost: ({ line_item }: Costs) => modelOf(line_item) },
  project: { usage: 'project_id', costs: 'project_id', idOfCost: ({ project_id }: Costs) => project_id },
  key: { usage: 'api_key_id', costs: 'api_key_id', idOfCost: ({ api_key_id }: Costs) => api_key_id },
} as const satisfies Record<Dimension, { usage: keyof EmbeddingsUsage; costs: keyof Costs; idOfCost: unknown }>

export async function readUsage(
  client: Client,
  by: Dimension,
  span: Span,
): Promise<{ rows: UsageRow[]; total: UsageRow }> {
  const { usage, costs, idOfCost } = fields[by]
  const [completions, embeddings, dollars] = await Promise.all([
    readBuckets<CompletionsUsage>(client, 'usage/completions', { span, groupBy: usage, perPage: 31 }),
    readBuckets<EmbeddingsUsage>(client, 'usage/embeddings', { span, groupBy: usage, perPage: 31 }),
    readBuckets<Costs>(client, 'costs', { span, groupBy: costs, perPage: 180 }),
  ])
  const amounts = [
    ...[...completions, ...embeddings].map(result => rowOf(result[usage], result)),
    ...dollars.map(result => ({ ...emptyRow, id: idOfCost(result) ?? unknownId, cost: readUsd(result.amount.value) })),
  ]
  const rows = [...Map.groupBy(amounts, ({ id }) => id)].map(([id, group]) => sum(id, group))
  return { rows: rows.sort(costliestFirst), total: sum('', rows) }
}

const unknownId = '(unknown)'
const emptyRow: UsageRow = { id: '', calls: 0, input: 0, output: 0, cost: zeroUsd }

const rowOf = (id: string | null, result: CompletionsUsage | EmbeddingsUsage): UsageRow => ({
  id: id ?? unknownId,
  calls: result.num_model_requests,
  input: result.input_tokens,
  output: 'output_tokens' in result ? result.output_tokens : 0,
  cost: zeroUsd,
})

const sum = (id: string, rows: readonly UsageRow[]): UsageRow =>
  rows.reduce((total, row) => ({ id, ...plus(total, row) }), { ...emptyRow, id })

const plus = (a: UsageRow, b: UsageRow): Omit<UsageRow, 'id'> => ({
  calls: a.calls + b.calls,
  input: a.input + b.input,
  output: a.output + b.output,
  cost: addUsd(a.cost, b.cost),
})

const costliestFirst = (a: UsageRow, b: UsageRow): number =>
  a.cost === b.cost ? b.calls - a.calls || a.id.localeCompare(b.id) : a.cost > b.cost ? -1 : 1

/** `gpt-4o, input` is the model gpt-4o. */
const modelOf = (lineItem: string | null): string | null => lineItem?.replace(/, [^,]*$/, '') ?? null

const pagesMax = 100

async function readBuckets<Result>(
  client: Client,
  endpoint: string,
  { span, groupBy, perPage }: { span: Span; groupBy: string; perPage: number },
): Promise<Result[]> {
  const query = {
    start_time: span.start,
    end_time: span.end,
    bucket_width: '1d',
    'group_by[]': groupBy,
    limit: perPage,
  }
  const results: Result[] = []
  let page: string | undefined
  for (let pages = 0; pages < pagesMax; pages++) {
    const answer: UsagePage<Result> = await client.get(`/v1/organization/${endpoint}`, { ...query, page })
    results.push(...answer.data.flatMap(bucket => bucket.results))
    if (!answer.has_more || answer.next_page === null) return results
    page = answer.next_page
  }
  throw new CliError('failed', `There are more than ${pagesMax} pages of usage. Ask for fewer --days.`)
}
