/** `keyhouse service-accounts`: identities of a project for machines, with keys of their own. */
import type { Command } from 'commander'
import { dateTime, parseDuration } from '../amounts.ts'
import { projectFor } from '../default-project.ts'
import { wrongUsage } from '../exit.ts'
import { addKeyOptions, type KeyOptions, keyBody } from '../key-options.ts'
import { onServer, type Run } from '../server-command.ts'
import { path, show, showList } from '../show.ts'
import type { Column } from '../table.ts'
import { safeText, type Terminal } from '../terminal.ts'
import type { NewServiceAccount, ServiceAccount, ServiceAccountKey } from '../wire.ts'

type OfProject = { project?: string }

export function define(command: Command, terminal: Terminal): void {
  const verb = (name: string, about: string): Command =>
    command
      .command(name)
      .description(about)
      .option('--project <id>', 'the project; the first active one when not given')
  const create = verb('create', 'a new account with a key, shown once')
    .argument('<name>')
    .option('--no-key', 'without a key and without a role')
    .option('--expires <duration>', 'of the key, as in 30d')
  onServer(create, terminal, createAccount)
  onServer(verb('list', 'all accounts of a project'), terminal, listAccounts)
  const update = verb('update', 'another name or role').argument('<id>', 'svc_acct_…')
  onServer(update.option('--name <name>').option('--role <role>', 'member or owner'), terminal, updateAccount)
  const key = verb('create-key', 'a further key of an account, shown once').argument('<id>', 'svc_acct_…')
  onServer(addKeyOptions(key).option('--name <name>', 'what it is for'), terminal, createKey)
  const remove = verb('delete', 'an account: all of its keys are refused within a second')
  onServer(remove.argument('<id>', 'svc_acct_…'), terminal, deleteAccount)
}

const accountsOf = async ({ client, options }: Parameters<Run<OfProject>>[0]): Promise<string> =>
  path`/v1/organization/projects/${(await projectFor(client, options.project)).id}/service_accounts`

const createAccount: Run<OfProject & { key: boolean; expires?: string }> = async context => {
  const { client, options, words } = context
  const body = {
    name: words[0],
    create_service_account_only: options.key ? undefined : true,
    expires_in_seconds: options.expires === undefined ? undefined : parseDuration(options.expires),
  }
  const account = await client.post<NewServiceAccount>(await accountsOf(context), body)
  const made = `Created the service account ${safeText(account.name)} (${account.id}).`
  show(context, account, account.api_key ? `${made} ${revealed(account.api_key)}` : `${made} ${keyLater(account)}`)
}

const keyLater = ({ id }: ServiceAccount): string => `Its first key: keyhouse service-accounts create-key ${id}`

const columns: readonly Column<ServiceAccount>[] = [
  { title: 'id', cell: ({ id }) => id },
  { title: 'name', cell: ({ name }) => name },
  { title: 'role', cell: ({ role }) => role },
  { title: 'created (UTC)', cell: ({ created_at }) => dateTime(created_at) },
]

const listAccounts: Run<OfProject> = async context => {
  const accounts = await context.client.list<ServiceAccount>(await accountsOf(context))
  const none = 'No service accounts. Create one: keyhouse service-accounts create NAME'
  showList(context, accounts, { columns, none })
}

const updateAccount: Run<OfProject & { name?: string; role?: string }> = async context => {
  const { client, options, words } = context
  const [id = ''] = words
  const body = { name: options.name, role: options.role }
  if (body.name === undefined && body.role === undefined)
    throw wrongUsage('Nothing to change was given. `keyhouse service-accounts update --help` lists what can be.')
  const account = await client.post<ServiceAccount>(`${await accountsOf(context)}${path`/${id}`}`, body)
  show(context, account, `${safeText(account.name)} (${id}) has the role ${account.role}.`)
}

const createKey: Run<OfProject & KeyOptions & { name?: string }> = async context => {
  const { client, options, words } = context
  const [id = ''] = words
  const body = { name: options.name, ...keyBody(options) }
  const key = await client.post<ServiceAccountKey>(`${await accountsOf(context)}${path`/${id}/api_keys`}`, body)
  show(context, key, revealed(key))
}

const deleteAccount: Run<OfProject> = async context => {
  const [id = ''] = context.words
  const deleted = await context.client.delete<object>(`${await accountsOf(context)}${path`/${id}`}`)
  show(context, deleted, `Deleted ${id}. Every server refuses its keys within a second.`)
}

const revealed = ({ id, name, value }: ServiceAccountKey): string =>
  `Its key ${safeText(name)} (${id}) is shown only now and kept nowhere:\n\n  ${value}\n`
