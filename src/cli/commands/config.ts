/**
 * `keyhouse config`: what `keyhouse start` would run with, given the same flags, environment and file. `keyhouse config running`:
 * what the running server does run with.
 */
import type { Command } from 'commander'
import { describeConfig } from '#src/config.ts'
import { onServer, type Run } from '../server-command.ts'
import { addSettings, readSettings } from '../settings-options.ts'
import { showList } from '../show.ts'
import { type Column, table } from '../table.ts'
import { print, printJson, type Terminal } from '../terminal.ts'

type Shown = ReturnType<typeof describeConfig>[number]

const columns: readonly Column<Omit<Shown, 'about'>>[] = [
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
  const running = command.command('running').description('those that the running server has')
  onServer(running, terminal, showRunning)
}

const showRunning: Run<object> = async context => {
  const { data } = await context.client.get<{ data: Omit<Shown, 'about'>[] }>('/v1/platform/config')
  showList(context, data, { columns, none: 'None.' })
}

/** As GET /v1/platform/config shows them. */
const toWire = ({ about, ...setting }: Shown) => ({ ...setting, description: about })
