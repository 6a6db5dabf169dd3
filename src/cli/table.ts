/** Aligned columns without boxes: readable at any width, and `awk` can still take them apart. */
import { safeText, style, type Terminal } from './terminal.ts'

export type Column<Row> = { readonly title: string; readonly align?: 'right'; readonly cell: (row: Row) => string }

const gap = '  '

export function table<Row>(terminal: Terminal, columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const cells = rows.map(row => columns.map(({ cell }) => safeText(cell(row)) || '-'))
  const titles = columns.map(({ title }) => title.toUpperCase())
  const widths = titles.map((title, index) => Math.max(...[title, ...column(cells, index)].map(widthOf)))
  const line = (texts: readonly string[]): string =>
    texts
      .map((text, index) => pad(text, widths[index] ?? 0, columns[index]?.align))
      .join(gap)
      .trimEnd()
  return [style(terminal, 'dim', line(titles)), ...cells.map(line)].join('\n')
}

const column = (cells: readonly (readonly string[])[], index: number): string[] => cells.map(row => row[index] ?? '')

// Characters, not UTF-16 units: an emoji in a name must not push its row to the left
const widthOf = (text: string): number => [...text].length

function pad(text: string, width: number, align: 'right' | undefined): string {
  const blank = ' '.repeat(Math.max(0, width - widthOf(text)))
  return align === 'right' ? blank + text : text + blank
}
