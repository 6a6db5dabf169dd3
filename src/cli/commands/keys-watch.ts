/** `keyhouse keys hygiene|compromised`: what is careless about keys, and what to do when one is lost. */
import type { Command } from 'commander'
import type { z } from 'zod'
import type { compromisedKeys } from '#contract/compromised-keys.ts'
import type { keyHygiene } from '#contract/key-hygiene.ts'
import { count, dateTime } from '../amounts.ts'
import { wrongUsage } from '../exit.ts'
import { projectKeyPath } from '../find-key.ts'
import { gather, keyBody } from '../key-options.ts'
import { onServer, type Run } from '../server-command.ts'
import { show, showList } from '../show.ts'
import { type Column, table } from '../table.ts'
import { print, safeText, type Terminal } from '../terminal.ts'

type Report = z.output<typeof compromisedKeys.report.answer>
type Finding = z.output<typeof keyHygiene.list.answer>['data'][number]

export function defineWatch(command: Command, terminal: Terminal): void {
  const compromised = command
    .command('compromised')
    .description('revoke a key that others may hold, cut its streams, and tell what it did')
    .argument('<id>', 'key_…, as `keyhouse keys list` shows it')
    .option('--project <id>', 'the project that it belongs to; found when not given')
    .option('--replace', 'make a new key of the same settings, but for the options below')
    .option('--scopes <a,b>', 'what the new key may do')
    .option('--cidr <block>', 'from where the new key may be used; may be given often, "none" for everywhere', gather)
    .option('--model <name>', 'what the new key may call; may be given often, "none" for all of the project', gather)
    .option('--expires <duration>', 'when the new key ends, as in 30d')
    .option('--hours <n>', 'how far back to look (default 24)')
  onServer(compromised, terminal, report)
  onServer(
    command.command('hygiene').description('keys that never expire, idle, may do everything … and what mends it'),
    terminal,
    hygiene,
  )
}

type ReportOptions = {
  project?: string
  replace?: true
  scopes?: string
  cidr?: string[]
  model?: string[]
  expires?: string
  hours?: string
}

function bodyOf({ replace, hours, ...settings }: ReportOptions) {
  const { scopes, allowed_cidrs, allowed_models, expires_in_seconds } = keyBody(settings)
  const asked = { scopes, allowed_cidrs, allowed_models, expires_in_seconds }
  if (!replace && Object.values(asked).some(member => member !== undefined))
    throw wrongUsage('--scopes, --cidr, --model and --expires are of the new key: add --replace.')
  if (hours !== undefined && !/^\d+$/.test(hours)) throw wrongUsage(`--hours takes a whole number, not '${hours}'.`)
  return { replacement: replace && asked, window_hours: hours === undefined ? undefined : Number(hours) }
}

const report: Run<ReportOptions> = async context => {
  const { client, options, words, terminal } = context
  const [id = ''] = words
  const body = bodyOf(options)
  const found = await client.post<Report>(`${await projectKeyPath(client, id, options.project)}/compromised`, body)
  show(context, found, `Revoked ${id}. Every server refuses it within a second, and its running streams are cut.`)
  if (!options.json) tell(terminal, found)
}

function tell(terminal: Terminal, { replacement, woken_backup_id: backup, activity }: Report): void {
  if (backup !== null) print(terminal, `Its backup key ${backup} works from now on.`)
  if (replacement) {
    print(
      terminal,
      `\nThe new key ${safeText(replacement.name)} (${replacement.id}) is shown only now and kept nowhere:`,
    )
    print(terminal, `\n  ${replacement.value}\n`)
  }
  const { calls, cost_usd: cost, from, models, addresses } = activity
  if (calls === 0) return void print(terminal, `It made no call since ${dateTime(from)} UTC.`)
  print(terminal, `Since ${dateTime(from)} UTC it made ${count(calls)} calls for $${cost}:\n`)
  print(terminal, table(terminal, [{ title: 'model', cell: ({ model }) => model }, ...useColumns], models))
  print(terminal, '')
  print(
    terminal,
    table(terminal, [{ title: 'address', cell: ({ address }) => address ?? 'unknown' }, ...useColumns], addresses),
  )
}

type Use = {
  readonly calls: number
  readonly cost_usd: string
  readonly first_used_at: number
  readonly last_used_at: number
}

const useColumns: readonly Column<Use>[] = [
  { title: 'calls', align: 'right', cell: ({ calls }) => count(calls) },
  { title: 'usd', align: 'right', cell: ({ cost_usd: cost }) => cost },
  { title: 'first (UTC)', cell: ({ first_used_at: at }) => dateTime(at) },
  { title: 'last (UTC)', cell: ({ last_used_at: at }) => dateTime(at) },
]

const columns: readonly Column<Finding>[] = [
  { title: 'key', cell: ({ key }) => key.id },
  { title: 'name', cell: ({ key }) => key.name },
  { title: 'finding', cell: ({ reason }) => reason.replaceAll('_', ' ') },
  { title: 'proof', cell: ({ proof }) => proof },
  { title: 'what mends it', cell: ({ mend }) => mend },
]

const hygiene: Run<object> = async context => {
  const findings = await context.client.list<Finding>('/v1/organization/key_hygiene')
  showList(context, findings, { columns, none: 'Nothing is careless about the keys.' })
}
