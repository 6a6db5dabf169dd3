/** `keyhouse audit`: who changed what, and whether the log is still what was written. */
import { type Command, InvalidArgumentError } from 'commander'
import type { z } from 'zod'
import type { auditLog, auditLogs } from '#contract/audit-logs.ts'
import { count, dateTime, parseDuration } from '../amounts.ts'
import { CliError } from '../exit.ts'
import { onServer, type Run } from '../server-command.ts'
import { type Column, table } from '../table.ts'
import { note, print, printJson, type Terminal } from '../terminal.ts'
import type { Page } from '../wire.ts'

type Entry = z.output<typeof auditLog>
type Head = z.output<typeof auditLogs.head.answer>
type Verification = z.output<typeof auditLogs.verify.answer>
type ListOptions = {
  type?: string
  actor?: string
  email?: string
  resource?: string
  project?: string
  since?: string
  limit: number
  after?: string
}

const limitDefault = 50
const limitMax = 100

export function define(command: Command, terminal: Terminal): void {
  const list = command
    .command('list')
    .description('changes, newest first')
    .option('--type <a,b>', 'only these events, as in api_key.created')
    .option('--actor <id>', 'only what this person, service account or key did')
    .option('--email <address>', 'only what the person with this address did')
    .option('--resource <id>', 'only what was done to this')
    .option('--project <id>', 'only in this project')
    .option('--since <duration>', 'only what happened in that time, as in 24h or 7d')
    .option('--limit <n>', `at most so many, up to ${limitMax}`, readLimit, limitDefault)
    .option('--after <id>', 'older than this entry: the next page')
  onServer(list, terminal, listEntries)
  const check = command
    .command('verify')
    .description('check that no entry is missing or was changed; exits with 1 when one was')
    .option('--head <number:hash>', 'and that the log still has this entry, noted earlier with `keyhouse audit head`')
  onServer(check, terminal, verify)
  onServer(command.command('head').description('the newest entry in short, to be noted elsewhere'), terminal, showHead)
}

function readLimit(text: string): number {
  const limit = /^\d+$/.test(text) ? Number(text) : 0
  if (limit < 1 || limit > limitMax) throw new InvalidArgumentError(`Give a number from 1 to ${limitMax}.`)
  return limit
}

const columns: readonly Column<Entry>[] = [
  { title: 'when (UTC)', cell: ({ effective_at }) => dateTime(effective_at) },
  { title: 'event', cell: ({ type }) => type },
  { title: 'what', cell: entry => memberOf(entry[entry.type], 'id') },
  { title: 'project', cell: ({ project }) => project?.name ?? '' },
  { title: 'who', cell: ({ actor }) => who(actor[actor.type]) },
  { title: 'from', cell: ({ actor }) => memberOf(actor[actor.type], 'ip_address') },
]

function memberOf(value: unknown, name: string): string {
  const member = at(value, name)
  return typeof member === 'string' ? member : ''
}

const at = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? Object.getOwnPropertyDescriptor(value, name)?.value : undefined

function who(actor: unknown): string {
  const user = at(actor, 'user')
  return memberOf(user, 'email') || memberOf(user, 'id') || memberOf(at(actor, 'service_account'), 'id')
}

const listEntries: Run<ListOptions> = async ({ client, terminal, options }) => {
  const { type, actor, email, resource, project, since, limit, after } = options
  const from = since === undefined ? undefined : Math.floor(terminal.now() / 1000) - parseDuration(since)
  const query = {
    event_types: type,
    actor_ids: actor,
    actor_emails: email,
    resource_ids: resource,
    project_ids: project,
    'effective_at[gte]': from,
    limit,
    after,
  }
  const page = await client.get<Page<Entry>>('/v1/organization/audit_logs', query)
  if (options.json) return void printJson(terminal, page)
  print(terminal, page.data.length === 0 ? 'Nothing was changed.' : table(terminal, columns, page.data))
  if (page.has_more) note(terminal, `There are older ones: add --after ${page.last_id}`)
}

const showHead: Run<object> = async ({ client, terminal, options }) => {
  const found = await client.get<Head>('/v1/organization/audit_logs/head')
  if (options.json) return void printJson(terminal, found)
  print(terminal, found.head ?? 'Nothing was changed yet.')
}

const verify: Run<{ head?: string }> = async ({ client, terminal, options }) => {
  const found = await client.get<Verification>('/v1/organization/audit_logs/verify', { head: options.head })
  if (options.json) printJson(terminal, found)
  if (found.first_broken !== null) throw broken(found)
  if (found.noted_head_found === false) throw anotherLog(options.head)
  if (!options.json) print(terminal, `Whole: ${count(found.entries)} entries, each as it was written.`)
}

const anotherLog = (head: string | undefined): CliError =>
  new CliError(
    'failed',
    `The log is whole, but it is not the one that ${head} was noted of. Was an older backup restored since? If not, ` +
      'somebody wrote it anew behind the server: compare with a backup from before.',
  )

const broken = ({ first_broken: number, entries }: Verification): CliError =>
  new CliError(
    'failed',
    `The log is not what was written: the first of its ${count(entries)} entries that does not fit, or is gone, is number ${number}. ` +
      'Somebody changed the database behind the server: compare with a backup from before.',
  )
