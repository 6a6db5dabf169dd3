/** How a command ends: with the API's own answer for machines, with a table or a sentence for people. */
import { wrongUsage } from './exit.ts'
import { type Column, table } from './table.ts'
import { print, printJson, safeText, type Terminal } from './terminal.ts'

export type Shown = { readonly terminal: Terminal; readonly options: { readonly json?: true } }

export function show({ terminal, options }: Shown, answer: unknown, sentence: string): void {
  if (options.json) printJson(terminal, answer)
  else print(terminal, sentence)
}

/** @param none what to say, and to do next, where there is nothing to list */
export function showList<Row>(
  { terminal, options }: Shown,
  rows: readonly Row[],
  { columns, none }: { readonly columns: readonly Column<Row>[]; readonly none: string },
): void {
  if (options.json) printJson(terminal, { object: 'list', data: rows })
  else print(terminal, rows.length === 0 ? none : table(terminal, columns, rows))
}

/** One thing, a line for each of its members. */
export const details = (thing: object): string =>
  Object.entries(thing)
    .filter(([name]) => name !== 'object')
    .map(([name, value]) => `${name.padEnd(detailWidth)} ${safeText(detail(value))}`)
    .join('\n')

const detailWidth = 24
const detail = (value: unknown): string => (typeof value === 'object' ? JSON.stringify(value) : String(value))

/** A path of the Administration API, each `…` a name or an id that somebody typed. @throws CliError where it can be neither */
export const path = (parts: TemplateStringsArray, ...typed: readonly string[]): string =>
  String.raw({ raw: parts }, ...typed.map(onePart))

/** Nothing, and what leads out of its folder in a URL, would make it the path of something else. */
export function onePart(typed: string): string {
  if (/^\s*\.{0,2}\s*$/.test(typed)) throw wrongUsage(`'${typed}' is neither a name nor an id.`)
  return encodeURIComponent(typed)
}
