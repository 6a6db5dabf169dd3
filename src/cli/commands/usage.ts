/**
 * `keyhouse usage`: calls, tokens and cost per model, project or key, added up over days in UTC. Tokens come from the
 * usage endpoints and dollars from /costs, as with OpenAI; nothing is priced here.
 */
import type { Command } from 'commander'
import { InvalidArgumentError, Option } from 'commander'
import { formatUsd } from '#core/money.ts'
import { count, usdAligned } from '../amounts.ts'
import { onServer, type Run } from '../server-command.ts'
import { type Column, table } from '../table.ts'
import { print, printJson, style, type Terminal } from '../terminal.ts'
import { namesOf } from '../usage-names.ts'
import { type Dimension, dimensions, readUsage, type UsageRow } from '../usage-rows.ts'
import { defineExport } from './usage-export.ts'
import { defineRecompute } from './usage-recompute.ts'

type UsageOptions = { days: number; by: Dimension }

const daysMax = 365

export function define(command: Command, terminal: Terminal): void {
  command.enablePositionalOptions()
  defineExport(command.command('export').description('usage or costs as a file'), terminal)
  defineRecompute(
    command.command('recompute').description('compute every charge again from its price, and show what differs'),
    terminal,
  )
  command
    .option('--days <n>', 'how many days, today included', readDays, 7)
    .addOption(new Option('--by <what>', 'one line for each').choices(dimensions).default('model'))
  onServer<UsageOptions>(command, terminal, showUsage)
}

function readDays(text: string): number {
  const days = /^\d{1,4}$/.test(text) ? Number(text) : 0
  if (days < 1 || days > daysMax) throw new InvalidArgumentError(`Write a number of days from 1 to ${daysMax}.`)
  return days
}

const showUsage: Run<UsageOptions> = async ({ client, terminal, options: { days, by, json } }) => {
  const span = daysUntil(terminal.now(), days)
  const { rows, total } = await readUsage(client, by, span)
  const names = await namesOf(
    client,
    by,
    rows.map(({ id }) => id),
  )
  const named = rows.map(row => ({ ...row, name: names.get(row.id) ?? null }))
  if (json)
    return void printJson(terminal, {
      object: 'usage_summary',
      start_time: span.start,
      end_time: span.end,
      by,
      data: named.map(toWire),
      total: toWire(total),
    })
  const since = days === 1 ? 'today' : `in the last ${days} days`
  if (rows.length === 0) return void print(terminal, `No calls ${since}. A first one: keyhouse keys create prints it.`)
  print(terminal, `${style(terminal, 'bold', `Usage ${since}`)} (UTC)\n`)
  print(terminal, table(terminal, columnsFor(by, named), [...named, { ...total, name: 'total' }]))
}

const daySeconds = 86_400

/** Whole days in UTC, to the end of today: what was called a second ago is in. */
function daysUntil(nowMs: number, days: number): { start: number; end: number } {
  const end = (Math.floor(nowMs / 1000 / daySeconds) + 1) * daySeconds
  return { start: end - days * daySeconds, end }
}

type NamedRow = UsageRow & { name: string | null }

function columnsFor(by: Dimension, rows: readonly NamedRow[]): readonly Column<NamedRow>[] {
  const dollars = usdAligned(rows.map(({ cost }) => cost))
  return [
    { title: by, cell: ({ id, name }) => [name, id && name ? `(${id})` : id].filter(Boolean).join(' ') },
    { title: 'calls', align: 'right', cell: ({ calls }) => count(calls) },
    { title: 'input tokens', align: 'right', cell: ({ input }) => count(input) },
    { title: 'output tokens', align: 'right', cell: ({ output }) => count(output) },
    { title: 'cost', align: 'right', cell: ({ cost }) => dollars(cost) },
  ]
}

const toWire = ({ id, name, calls, input, output, cost }: UsageRow & { name?: string | null }) => ({
  ...(id !== '' && { id, name: name ?? null }),
  calls,
  input_tokens: input,
  output_tokens: output,
  cost_usd: formatUsd(cost),
})
