/** `keyhouse config`: what `keyhouse start` would run with, given the same flags, environment and file. */
import type { Command } from 'commander'
import { describeConfig } from '#src/config.ts'
import { addSettings, readSettings } from '../settings-options.ts'
import { type Column, table } from '../table.ts'
import { print, printJson, type Terminal } from '../terminal.ts'

type Shown = ReturnType<typeof describeConfig>[number]

const columns: readonly Column<Shown>[] = [
  { title: 'setting', cell: ({ name }) => name },
  { title: 'value', cell: ({ value }) => value },
  { title: 'from', cell: ({ source }) => source },
  { title: 'variable', cell: ({ env }) => env },
]

export function define(command: Command, terminal: Terminal): void {
  addSettings(command.option('--json', 'one JSON document on stdout, for machines')).action(() => {
    const shown = describeConfig(readSettings(command, terminal))
    if (command.opts().json) printJson(terminal, { object: 'list', data: shown.map(toWire) })
    else print(terminal, table(terminal, columns, shown))
  })
}

/** As GET /v1/platform/config shows them. */
const toWire = ({ about, ...setting }: Shown) => ({ ...setting, description: about })
