/** Usage and costs as files, sent as they are read: a file of millions of rows costs no more memory than a small one. */
import { once } from 'node:events'
import { PassThrough, type Readable } from 'node:stream'
import { apiError } from '#contract/errors.ts'
import type { OrganizationId } from '#contract/ids.ts'
import { bucketWidths } from '#contract/usage.ts'
import { type ExportFormat, exportFormats, type usageExport } from '#contract/usage-export.ts'
import { formatUsd, nanoUsd } from '#core/money.ts'
import {
  type UsageDimension,
  type UsageFilters,
  type UsageMeasure,
  type UsageSum,
  usageDimensions,
  usageMeasures,
} from '#storage/usage-queries.ts'
import { streamUsage } from '#storage/usage-stream.ts'
import { type Cell, fileEnd, fileStart, rowText } from './export-format.ts'
import type { Handlers } from './handler.ts'
import type { PlatformParts } from './platform.ts'
import { columnOfCosts, filtersOf } from './usage.ts'

/** At once on this node: each has a connection to the database, beside those of the pool. */
const exportsMax = 4
/** How long whoever asked may take nothing, while a snapshot is kept for them. */
const stallMs = 60_000

export const usageExportHandlers: Handlers<typeof usageExport> = {
  async usage(parts, { grant: { organizationId }, query }) {
    const filters = { ...filtersOf(query), endpoint: query.endpoints, batch: query.batch }
    const groupBy = usageDimensions.filter(dimension => query.group_by.includes(dimension))
    const { seconds } = bucketWidths[query.bucket_width]
    const asked = { ...query, organizationId, filters, groupBy, bucketSeconds: seconds, measures: usageMeasures }
    return exported(parts, asked, usageColumns(groupBy))
  },

  async costs(parts, { grant: { organizationId }, query }) {
    const filters = filtersOf({ ...query, models: query.line_items })
    const groups: readonly UsageDimension[] = query.group_by.map(columnOfCosts)
    const groupBy = usageDimensions.filter(dimension => groups.includes(dimension))
    const bucketSeconds = bucketWidths['1d'].seconds
    const asked = { ...query, organizationId, filters, groupBy, bucketSeconds, measures: costMeasures }
    return exported(parts, asked, costColumns(groupBy))
  },
}

const costMeasures = ['charged_nano_usd', 'requests', 'input_tokens', 'output_tokens'] as const

type Column<Measure extends UsageMeasure> = {
  readonly name: string
  readonly cell: (sum: UsageSum<Measure>) => Cell
}

const time: Column<never> = { name: 'start_time', cell: ({ bucket }) => iso(bucket) }
const iso = (seconds: number): string => new Date(seconds * 1000).toISOString().replace('.000', '')

const groupColumn = (dimension: UsageDimension, name: string = dimension): Column<never> => ({
  name,
  cell: sum => sum[dimension],
})

function usageColumns(groupBy: readonly UsageDimension[]): Column<UsageMeasure>[] {
  const counted = usageMeasures.filter(measure => !measure.endsWith('_nano_usd'))
  return [
    time,
    ...groupBy.map(dimension => groupColumn(dimension)),
    ...counted.map(measure => ({ name: measure, cell: (sum: UsageSum) => Number(sum[measure]) })),
    { name: 'cost_usd', cell: sum => formatUsd(nanoUsd(sum.charged_nano_usd)) },
    { name: 'overrun_usd', cell: sum => formatUsd(nanoUsd(sum.overrun_nano_usd)) },
  ]
}

const costColumns = (groupBy: readonly UsageDimension[]): Column<(typeof costMeasures)[number]>[] => [
  time,
  ...groupBy.map(dimension => groupColumn(dimension, dimension === 'model' ? 'line_item' : dimension)),
  { name: 'amount_usd', cell: sum => formatUsd(nanoUsd(sum.charged_nano_usd)) },
  { name: 'currency', cell: () => 'usd' },
  { name: 'quantity', cell: sum => Number(sum.input_tokens + sum.output_tokens) },
  { name: 'quantity_unit', cell: () => 'tokens' },
  { name: 'requests', cell: sum => Number(sum.requests) },
]

type Asked<Measure extends UsageMeasure> = {
  readonly organizationId: OrganizationId
  readonly start_time: number
  readonly end_time?: number | undefined
  readonly format: ExportFormat
  readonly bucketSeconds: number
  readonly groupBy: readonly UsageDimension[]
  readonly filters: UsageFilters
  readonly measures: readonly Measure[]
}

const running = new WeakMap<PlatformParts['database'], number>()

/** A file that breaks off breaks the connection, so that nobody takes half of one for a whole. */
function exported<Measure extends UsageMeasure>(
  parts: PlatformParts,
  asked: Asked<Measure>,
  columns: readonly Column<Measure>[],
): Readable {
  const { database, log, wallClock } = parts
  const now = Math.ceil(wallClock() / 1000)
  const { start_time: from, end_time: to = now, format } = asked
  if (to <= from) throw invalidEnd()
  const count = running.get(database) ?? 0
  if (count >= exportsMax) throw apiError('conflict', { message: tooMany })
  running.set(database, count + 1)
  const sink = Object.assign(new PassThrough(), { contentType: exportFormats[format] })
  write(sink, { ...asked, from, to, now }, { parts, columns })
    .catch(error => {
      log.warn({ err: error }, 'an export broke off')
      sink.destroy(error instanceof Error ? error : new Error(String(error)))
    })
    .finally(() => running.set(database, (running.get(database) ?? 1) - 1))
  return sink
}

type Span = { readonly from: number; readonly to: number; readonly now: number }
type With<Measure extends UsageMeasure> = {
  readonly parts: PlatformParts
  readonly columns: readonly Column<Measure>[]
}

async function write<Measure extends UsageMeasure>(
  sink: PassThrough,
  asked: Asked<Measure> & Span,
  { parts, columns }: With<Measure>,
): Promise<void> {
  const { format } = asked
  const names = columns.map(({ name }) => name)
  let isFirst = true
  sink.write(fileStart(format, names))
  await streamUsage(parts.database, asked, async sums => {
    const rows = sums.map(sum => columns.map(({ cell }) => cell(sum)))
    const text = rows.map((cells, index) => rowText(format, names, cells, isFirst && index === 0)).join('')
    isFirst = false
    if (!sink.write(text)) await drained(sink)
  })
  sink.end(fileEnd(format))
}

/** @throws AbortError when nobody takes any more, or whoever asked has gone */
async function drained(sink: PassThrough): Promise<void> {
  const gone = new AbortController()
  const leave = (): void => gone.abort(new Error('whoever asked for the export has gone'))
  const timer = setTimeout(() => gone.abort(new Error('nobody took the export')), stallMs)
  sink.once('close', leave)
  try {
    if (sink.destroyed) leave()
    await once(sink, 'drain', { signal: gone.signal })
  } finally {
    clearTimeout(timer)
    sink.off('close', leave)
  }
}

const tooMany = `There are ${exportsMax} exports under way already. Try again when one has ended.`

const invalidEnd = (): Error =>
  apiError('invalid_parameter', {
    param: 'end_time',
    message: "Invalid 'end_time': it must be later than start_time.",
    code: 'invalid_value',
  })
