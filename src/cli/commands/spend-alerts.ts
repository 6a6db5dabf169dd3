/** `keyhouse spend-alerts`: who is told when the organization, or a project, has spent so much in a calendar month. */
import type { Command } from 'commander'
import { dateTime } from '../amounts.ts'
import { readCents, showCents } from '../cents.ts'
import { wrongUsage } from '../exit.ts'
import { onServer, type Run } from '../server-command.ts'
import { eitherPlace, ofEither, type ProjectOption } from '../settings-place.ts'
import { onePart, show } from '../show.ts'
import { type Column, table } from '../table.ts'
import { print, printJson, type Terminal } from '../terminal.ts'
import type { SpendAlert } from '../wire.ts'

export function define(command: Command, terminal: Terminal): void {
  const list = command.command('list').description('the amounts and who is told')
  onServer(ofEither(list), terminal, listAlerts)
  const add = command
    .command('add')
    .description('an alert at an amount a month (UTC), or at a share of the spend limit')
    .argument('<usd>', 'dollars, as in 50 or 12.50; or a share of the spend limit, as in 80%')
    .requiredOption('--to <a,b>', 'e-mail addresses, separated by commas')
    .option('--prefix <text>', "what the mails' subjects begin with")
  onServer<AddOptions>(ofEither(add), terminal, addAlert)
  const update = command
    .command('update')
    .description('change an alert: what is not given stays')
    .argument('<id>', 'alert_…, as `keyhouse spend-alerts list` shows it')
    .option('--at <usd>', 'dollars, as in 50 or 12.50; or a share of the spend limit, as in 80%')
    .option('--to <a,b>', 'e-mail addresses, separated by commas')
    .option('--prefix <text>', "what the mails' subjects begin with")
  onServer<UpdateOptions>(ofEither(update), terminal, updateAlert)
  const remove = command.command('remove').description('no such alert any more').argument('<id>', 'alert_…')
  onServer(ofEither(remove), terminal, removeAlert)
}

const showThreshold = ({ threshold_amount: cents, threshold_percent: percent = 0 }: SpendAlert): string =>
  cents === null ? `${percent}%` : showCents(cents)

const columns: readonly Column<SpendAlert>[] = [
  { title: 'id', cell: ({ id }) => id },
  { title: 'a month', align: 'right', cell: showThreshold },
  { title: 'told', cell: ({ notification_channel: { recipients } }) => recipients.join(', ') },
  { title: 'subject', cell: ({ notification_channel: { subject_prefix } }) => subject_prefix ?? '' },
  { title: 'last told', cell: ({ last_fired_at: at }) => (at === null ? '' : dateTime(at)) },
]

/** As in 80%. */
function readThreshold(text: string): { threshold_amount: number } | { threshold_percent: number } {
  const percent = /^(\d{1,4})%$/.exec(text)?.[1]
  return percent === undefined ? { threshold_amount: readCents(text) } : { threshold_percent: Number(percent) }
}

const listAlerts: Run<ProjectOption> = async ({ client, terminal, options }) => {
  const { path, name } = await eitherPlace(client, options.project)
  const alerts = await client.list<SpendAlert>(`${path}/spend_alerts`)
  if (options.json) return void printJson(terminal, { object: 'list', data: alerts })
  print(terminal, alerts.length === 0 ? `No spend alerts for ${name}.` : table(terminal, columns, alerts))
}

type AddOptions = ProjectOption & { to: string; prefix?: string }

const addAlert: Run<AddOptions> = async ({ client, terminal, options, words: [amount = ''] }) => {
  const recipients = readAddresses(options.to)
  const body = {
    ...readThreshold(amount),
    ...monthly,
    notification_channel: { type: 'email', recipients, subject_prefix: options.prefix },
  }
  const { path, name } = await eitherPlace(client, options.project)
  const alert = await client.post<SpendAlert>(`${path}/spend_alerts`, body)
  if (options.json) return void printJson(terminal, alert)
  print(terminal, sentence(alert, name))
}

type UpdateOptions = ProjectOption & { at?: string; to?: string; prefix?: string }

/** The API replaces an alert whole. */
const updateAlert: Run<UpdateOptions> = async context => {
  const { client, options, words } = context
  const { at, to, prefix } = options
  if (at === undefined && to === undefined && prefix === undefined)
    throw wrongUsage('Nothing to change was given. `keyhouse spend-alerts update --help` lists what can be.')
  const { path, name } = await eitherPlace(client, options.project)
  const place = `${path}/spend_alerts/${onePart(words[0] ?? '')}`
  const { threshold_amount, threshold_percent, notification_channel: channel } = await client.get<SpendAlert>(place)
  const threshold = threshold_amount === null ? { threshold_percent } : { threshold_amount }
  const alert = await client.post<SpendAlert>(place, {
    ...(at === undefined ? threshold : readThreshold(at)),
    ...monthly,
    notification_channel: {
      ...channel,
      ...(to !== undefined && { recipients: readAddresses(to) }),
      ...(prefix !== undefined && { subject_prefix: prefix }),
    },
  })
  show(context, alert, sentence(alert, name))
}

const monthly = { currency: 'USD', interval: 'month' }
const readAddresses = (text: string): string[] => text.split(',').map(address => address.trim())

const sentence = (alert: SpendAlert, name: string): string =>
  `At ${showThreshold(alert)} a month of ${name}: ${alert.notification_channel.recipients.join(', ')} (${alert.id}).`

const removeAlert: Run<ProjectOption> = async ({ client, terminal, options, words: [id = ''] }) => {
  const { path } = await eitherPlace(client, options.project)
  const answer = await client.delete<object>(`${path}/spend_alerts/${onePart(id)}`)
  if (options.json) printJson(terminal, answer)
  else print(terminal, `Removed ${id}.`)
}
