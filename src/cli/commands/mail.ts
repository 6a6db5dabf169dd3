/** `keyhouse mail`: what was sent, what waits and why. */
import { type Command, Option } from 'commander'
import { dateTime } from '../amounts.ts'
import { onServer, type Run } from '../server-command.ts'
import { path, show, showList } from '../show.ts'
import type { Column } from '../table.ts'
import { safeText, type Terminal } from '../terminal.ts'
import type { Mail, MailWithText, Page } from '../wire.ts'

const mailsPath = '/v1/platform/mails'
const limit = 50

type ListOptions = { state?: string; after?: string }

export function define(command: Command, terminal: Terminal): void {
  const list = command
    .command('list')
    .description(`the newest ${limit}`)
    .addOption(new Option('--state <state>', 'only these').choices(['queued', 'held', 'sent', 'failed']))
    .option('--after <id>', 'older than this one: the next page')
  onServer(list, terminal, listMails)
  onServer(command.command('show').description('one with its text').argument('<id>', 'mail_…'), terminal, showMail)
  const test = command.command('test').description('send a mail that says that mail works').argument('<address>')
  onServer(test, terminal, testMail)
}

const columns: readonly Column<Mail>[] = [
  { title: 'id', cell: ({ id }) => id },
  { title: 'when (UTC)', cell: ({ created_at }) => dateTime(created_at) },
  { title: 'state', cell: ({ state }) => state },
  { title: 'to', cell: ({ recipient }) => recipient },
  { title: 'subject', cell: ({ subject }) => subject },
  { title: 'failure', cell: ({ failure }) => failure ?? '' },
]

const listMails: Run<ListOptions> = async context => {
  const { state, after } = context.options
  const page = await context.client.get<Page<Mail>>(mailsPath, { state, after, limit })
  showList(context, page.data, { columns, none: 'There are no mails.' })
}

const showMail: Run<object> = async context => {
  const [id = ''] = context.words
  const mail = await context.client.get<MailWithText>(path`/v1/platform/mails/${id}`)
  show(context, mail, asText(mail))
}

function asText({ recipient, subject, state, failure, tries, text }: MailWithText): string {
  const lines = [`To       ${recipient}`, `Subject  ${subject}`, `State    ${state} after ${tries} tries`]
  if (failure !== null) lines.push(`Failure  ${failure}`)
  return [...lines.map(safeText), '', ...text.split('\n').map(safeText)].join('\n')
}

const testMail: Run<object> = async context => {
  const [to = ''] = context.words
  const mail = await context.client.post<Mail>(`${mailsPath}/test`, { to })
  const next =
    mail.state === 'held'
      ? 'It is held, since no mail server is set: start the server with smtp-url, mail-from and public-url.'
      : `What became of it: keyhouse mail show ${mail.id}`
  show(context, mail, `Queued ${mail.id} to ${safeText(to)}. ${next}`)
}
