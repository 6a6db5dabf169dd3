/** The deterministic models of the fake provider. People rarely mean them: lists leave them out unless asked. */
import type { testModelPrefix } from '#contract/models.ts'
import { type Shown, showList } from './show.ts'
import type { Column } from './table.ts'
import { print } from './terminal.ts'

// The value again, held equal by its type: importing it would bring zod along
const prefix: typeof testModelPrefix = 'keyhouse-test-'

export const isTestModel = ({ name }: { readonly name: string }): boolean => name.startsWith(prefix)
export const testModel = `${prefix}chat`

export const allOption = ['--all', 'the test models too'] as const
export const hiddenLine = (count: number): string => `\nTest models: ${count} (--all shows them)`

/** As showList, for rows of which each is about a model. For machines the test models are always in it. */
export function showOfModels<Row extends { readonly model: string }>(
  shown: Shown & { readonly options: { readonly all?: true } },
  rows: readonly Row[],
  list: { readonly columns: readonly Column<Row>[]; readonly none: string },
): void {
  const { json, all } = shown.options
  const wanted = json || all ? rows : rows.filter(({ model }) => !isTestModel({ name: model }))
  showList(shown, wanted, list)
  if (wanted.length < rows.length) print(shown.terminal, hiddenLine(rows.length - wanted.length))
}
