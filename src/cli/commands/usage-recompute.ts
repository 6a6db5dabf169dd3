/** `keyhouse usage recompute`: every stored charge computed again from its usage and its price row, and what differs. */
import type { Command } from 'commander'
import type { z } from 'zod'
import type { usageRecompute } from '#contract/usage-recompute.ts'
import { addUsd, formatUsd, type NanoUsd, zeroUsd } from '#core/money.ts'
import { count, readUsd, usd } from '../amounts.ts'
import type { Client } from '../client.ts'
import { daySeconds, readDay } from '../days.ts'
import { CliError } from '../exit.ts'
import { onServer, type Run } from '../server-command.ts'
import { type Column, table } from '../table.ts'
import { note, print, printJson, type Terminal } from '../terminal.ts'

type Stretch = z.output<typeof usageRecompute.retrieve.answer>
type Difference = Stretch['differences'][number]
type RecomputeOptions = { from?: number; to?: number }

const differencesShownMax = 100

export function defineRecompute(command: Command, terminal: Terminal): void {
  command
    .option('--from <date>', 'from this day on (UTC), as in 2026-11-01; all when not given', readDay)
    .option('--to <date>', 'until the end of this day (UTC)', readDay)
  onServer<RecomputeOptions>(command, terminal, recompute)
}

type Total = { count: number; charged: NanoUsd; recomputed: NanoUsd; differing: number; differences: Difference[] }

const recompute: Run<RecomputeOptions> = async ({ client, terminal, options }) => {
  const onDone = (done: number): void => {
    if (terminal.stderr.isTTY) note(terminal, `${count(done)} so far`)
  }
  const total = await addUp(client, options, onDone)
  if (options.json) printJson(terminal, toWire(total))
  else say(terminal, total)
  if (total.differing > 0)
    throw new CliError('failed', `${count(total.differing)} charges are not what their price says.`)
}

async function addUp(client: Client, { from, to }: RecomputeOptions, onDone: (count: number) => void): Promise<Total> {
  const span = {
    ...(from !== undefined && { start_time: from }),
    ...(to !== undefined && { end_time: to + daySeconds }),
  }
  const total: Total = { count: 0, charged: zeroUsd, recomputed: zeroUsd, differing: 0, differences: [] }
  for (let after: string | undefined, more = true; more; ) {
    const stretch = await client.get<Stretch>('/v1/platform/usage_recompute', { ...span, after })
    total.count += stretch.count
    total.charged = addUsd(total.charged, readUsd(stretch.charged_usd))
    total.recomputed = addUsd(total.recomputed, readUsd(stretch.recomputed_usd))
    total.differing += stretch.difference_count
    total.differences.push(...stretch.differences.slice(0, differencesShownMax - total.differences.length))
    onDone(total.count)
    after = stretch.next ?? undefined
    more = after !== undefined
  }
  return total
}

const toWire = ({ count: records, charged, recomputed, differing, differences }: Total) => ({
  object: 'usage_recompute',
  count: records,
  charged_usd: formatUsd(charged),
  recomputed_usd: formatUsd(recomputed),
  difference_count: differing,
  differences,
})

const columns: readonly Column<Difference>[] = [
  { title: 'call', cell: ({ id }) => id },
  { title: 'at (UTC)', cell: ({ occurred_at }) => occurred_at.slice(0, 19).replace('T', ' ') },
  { title: 'model', cell: ({ model }) => model },
  { title: 'price', cell: ({ price_id }) => price_id ?? 'none' },
  { title: 'charged', align: 'right', cell: ({ charged_usd }) => usd(readUsd(charged_usd)) },
  {
    title: 'recomputed',
    align: 'right',
    cell: ({ recomputed_usd: is }) => (is === null ? 'no such price' : usd(readUsd(is))),
  },
]

function say(terminal: Terminal, { count: records, charged, recomputed, differing, differences }: Total): void {
  print(terminal, `${count(records)} charges: ${usd(charged)} charged, ${usd(recomputed)} recomputed.`)
  if (differing === 0) return void print(terminal, 'All are what their price says, to the nano-dollar.')
  print(terminal, `\n${table(terminal, columns, differences)}`)
  if (differing > differences.length) print(terminal, `\n… and ${count(differing - differences.length)} more.`)
}
