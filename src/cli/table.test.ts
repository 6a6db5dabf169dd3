import { expect, test } from 'vitest'
import { type Column, table } from './table.ts'
import type { Terminal } from './terminal.ts'
import { terminalFor } from './testing.ts'

type Row = { name: string; calls: number }
const columns: readonly Column<Row>[] = [
  { title: 'name', cell: ({ name }) => name },
  { title: 'calls', align: 'right', cell: ({ calls }) => String(calls) },
]
const rows = [
  { name: 'a', calls: 5 },
  { name: 'longer', calls: 12_345 },
]

const terminalWith = (isTTY: boolean, env: NodeJS.ProcessEnv): Terminal => terminalFor({ isTTY, env })

test('columns are aligned, numbers to the right, nothing trails', () => {
  expect(table(terminalWith(false, {}), columns, rows)).toBe('NAME    CALLS\na           5\nlonger  12345')
})

test('an empty cell is a dash, so that every row has as many words', () => {
  expect(table(terminalWith(false, {}), columns, [{ name: '', calls: 1 }])).toContain('\n-')
})

test('a name cannot move the cursor or break the line', () => {
  const shown = table(terminalWith(true, { NO_COLOR: '1' }), columns, [{ name: 'x\x1b[2J\nroot\u202e', calls: 1 }])
  expect(shown).toContain('\nx [2J root ')
  expect(shown.split('\n')).toHaveLength(2)
})

test('colour only on a terminal, and not when NO_COLOR asks for none', () => {
  const coloured = (isTTY: boolean, env: NodeJS.ProcessEnv) =>
    table(terminalWith(isTTY, env), columns, rows).includes('\x1b[')
  expect([coloured(true, {}), coloured(false, {}), coloured(true, { NO_COLOR: '1' })]).toEqual([true, false, false])
})
