/** Rows as CSV (RFC 4180), as one JSON document, or as JSON lines. Pure. */
import type { ExportFormat } from '#contract/usage-export.ts'

export type Cell = string | number | boolean | null

export const fileStart = (format: ExportFormat, names: readonly string[]): string => {
  if (format === 'csv') return `${names.map(csvCell).join(',')}\r\n`
  return format === 'json' ? '{"object":"list","data":[' : ''
}

export const fileEnd = (format: ExportFormat): string => (format === 'json' ? '\n]}\n' : '')

export function rowText(
  format: ExportFormat,
  names: readonly string[],
  cells: readonly Cell[],
  isFirst: boolean,
): string {
  if (format === 'csv') return `${cells.map(csvCell).join(',')}\r\n`
  const row = JSON.stringify(Object.fromEntries(names.map((name, index) => [name, cells[index] ?? null])))
  if (format === 'jsonl') return `${row}\n`
  return `${isFirst ? '' : ','}\n${row}`
}

/**
 * A spreadsheet runs what begins with one of these as a formula, and models, projects and keys have names that people gave. An
 * apostrophe makes it text. Numbers are ours and stay numbers.
 */
const formula = /^[=+\-@\t\r]/

function csvCell(cell: Cell): string {
  if (cell === null) return ''
  if (typeof cell !== 'string') return String(cell)
  const safe = formula.test(cell) ? `'${cell}` : cell
  return /[",\r\n']/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
