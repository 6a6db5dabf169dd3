/** `keyhouse usage export`: usage or costs as a file, whole, however long it is. */
import { createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { bytes } from '../amounts.ts'
import { daySeconds, readDay } from '../days.ts'
import { CliError, messageOf } from '../exit.ts'
import { onServer, type Run } from '../server-command.ts'
import { note, safeText, type Terminal } from '../terminal.ts'

type ExportOptions = {
  format: 'csv' | 'json' | 'jsonl'
  output?: string
  costs?: true
  days: number
  from?: number
  to?: number
  width: '1m' | '1h' | '1d'
  by?: string
  project?: string
}

const daysUsual = 30

export function defineExport(command: Command, terminal: Terminal): void {
  command
    .addOption(new Option('--format <format>', 'what is written').choices(['csv', 'json', 'jsonl']).default('csv'))
    .option('--output <file>', 'where to; left out: stdout')
    .option('--costs', 'what was charged by day, instead of what was used')
    .option('--days <n>', 'how many days, today included', readDays, daysUsual)
    .option('--from <date>', 'from this day on (UTC), as in 2026-11-01; instead of --days', readDay)
    .option('--to <date>', 'until the end of this day (UTC)', readDay)
    .addOption(new Option('--width <width>', 'how long a bucket is').choices(['1m', '1h', '1d']).default('1d'))
    .option('--by <a,b>', 'one row for each, as in project_id,model')
    .option('--project <id>', 'only of this project')
  onServer<ExportOptions>(command, terminal, writeExport)
}

function readDays(text: string): number {
  const days = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (days < 1) throw new InvalidArgumentError('Write a number of days, 1 or more.')
  return days
}

const writeExport: Run<ExportOptions> = async ({ client, terminal, options }) => {
  const { output } = options
  const pieces = await client.stream('GET', pathOf(options, terminal.now()))
  if (output === undefined) {
    // process.stdout must stay open: whoever started us owns it
    return void (await pipeline(pieces, terminal.stdout, { end: false }).catch(notWritten))
  }
  const size = await writeWhole(output, pieces)
  note(terminal, `Wrote ${bytes(size)} to ${safeText(output)}.`)
}

function pathOf(
  { costs, format, json, width, by, project, ...when }: ExportOptions & { json?: true },
  nowMs: number,
): string {
  const { start, end } = spanOf(when, nowMs)
  const query = new URLSearchParams({
    start_time: String(start),
    end_time: String(end),
    format: json ? 'json' : format,
  })
  if (!costs) query.set('bucket_width', width)
  if (by !== undefined) query.set('group_by', by)
  if (project !== undefined) query.set('project_ids', project)
  return `/v1/organization/${costs ? 'costs' : 'usage'}/export?${query}`
}

/** Whole days in UTC, to the end of today: what was called a second ago is in. */
function spanOf({ from, to, days }: Pick<ExportOptions, 'from' | 'to' | 'days'>, nowMs: number) {
  const today = Math.floor(nowMs / 1000 / daySeconds) * daySeconds
  const end = (to ?? today) + daySeconds
  return { start: from ?? end - days * daySeconds, end }
}

/** Whole or absent: it is written beside, and given its name when nothing is missing. */
async function writeWhole(file: string, pieces: AsyncIterable<Uint8Array>): Promise<number> {
  const partial = `${file}.partial`
  const sink = createWriteStream(partial, { mode: 0o600 })
  try {
    await pipeline(pieces, sink)
    await rename(partial, file)
    return sink.bytesWritten
  } catch (error) {
    // Where it could not be made it cannot be removed, and why it could not is what counts
    await rm(partial, { force: true }).catch(() => undefined)
    return notWritten(error)
  }
}

function notWritten(error: unknown): never {
  if (error instanceof CliError) throw error
  throw new CliError('failed', `The export could not be written: ${messageOf(error)}.`, { cause: error })
}
