/** `keyhouse credits`: what is left, the grants that it came in; the operator adds and revokes them. */
import { type Command, Option } from 'commander'
import { dateTime, parseDuration, readUsd, usd } from '../amounts.ts'
import { checkUsd } from '../price-options.ts'
import { onServer, type Run } from '../server-command.ts'
import { path, show, showList } from '../show.ts'
import type { Column } from '../table.ts'
import { print, printJson, type Terminal } from '../terminal.ts'
import type { CreditBalance, CreditGrant } from '../wire.ts'

export function define(command: Command, terminal: Terminal): void {
  const read = command.command('show').description('what the organization has left')
  onServer(read, terminal, showCredit)
  const list = command
    .command('list')
    .description('the grants, and what remains of each')
    .addOption(new Option('--status <status>', 'only these').choices(['active', 'spent', 'expired', 'revoked']))
    .option('--organization <id>', "of another organization: the operator's only")
  onServer(list, terminal, listGrants)
  const add = command
    .command('add')
    .description('give an organization credit')
    .argument('<usd>', 'dollars, as in 50 or 12.50')
    .addOption(new Option('--kind <kind>', 'what it is').choices(['purchased', 'promotional', 'free']))
    .option('--expires <duration>', 'what is not spent by then ends, as in 90d; what ends soonest is spent first')
    .option('--organization <id>', 'for another organization than your own')
    .option('--reference <text>', 'your own name for it, as an invoice number: the same one is refused twice')
    .option('--note <text>', 'why')
  onServer(add, terminal, addCredit)
  const revoke = command
    .command('revoke')
    .description('take back what is not spent of a grant')
    .argument('<id>', 'cg_…, as `keyhouse credits list` shows it')
  onServer(revoke, terminal, revokeGrant)
}

const balancePath = '/v1/organization/credit_balance'
const grantsPath = '/v1/organization/credit_grants'
const shown = (amount: string): string => usd(readUsd(amount))

const showCredit: Run<object> = async ({ client, terminal, options }) => {
  const balance = await client.get<CreditBalance>(balancePath)
  if (options.json) return void printJson(terminal, balance)
  print(terminal, `Available  ${shown(balance.available_usd)}`)
  print(terminal, `Reserved   ${shown(balance.reserved_usd)}  for calls in flight and running servers`)
  const next = balance.next_expiry
  if (next)
    print(terminal, `Ends       ${shown(next.amount_usd)}  at ${dateTime(next.expires_at)} UTC, unless it is spent`)
}

const columns: readonly Column<CreditGrant>[] = [
  { title: 'id', cell: ({ id }) => id },
  { title: 'kind', cell: ({ kind }) => kind },
  { title: 'status', cell: ({ status }) => status },
  { title: 'amount', align: 'right', cell: ({ amount_usd: amount }) => shown(amount) },
  { title: 'left', align: 'right', cell: ({ remaining_usd: left }) => shown(left) },
  { title: 'ends (UTC)', cell: ({ expires_at: at }) => (at === null ? 'never' : dateTime(at)) },
  { title: 'granted (UTC)', cell: ({ created_at: at }) => dateTime(at) },
  { title: 'reference', cell: ({ reference }) => reference },
]

type ListOptions = { status?: string; organization?: string }

const listGrants: Run<ListOptions> = async context => {
  const { status, organization } = context.options
  const query = { ...(status && { status }), ...(organization && { organization_id: organization }) }
  const grants = await context.client.list<CreditGrant>(grantsPath, query)
  showList(context, grants, { columns, none: 'No credit grants. Add credit: keyhouse credits add 50' })
}

type AddOptions = { kind?: string; expires?: string; organization?: string; reference?: string; note?: string }

const addCredit: Run<AddOptions> = async context => {
  const { client, options } = context
  const [amount = ''] = context.words
  const body = {
    amount_usd: checkUsd(amount),
    kind: options.kind,
    expires_in_seconds: options.expires === undefined ? undefined : parseDuration(options.expires),
    organization_id: options.organization,
    reference: options.reference,
    note: options.note,
  }
  const grant = await client.post<CreditGrant>(grantsPath, body)
  const added = `Added ${shown(grant.amount_usd)} (${grant.id})`
  if (options.json || options.organization !== undefined)
    return show(context, grant, `${added} to ${grant.organization_id}.`)
  const { available_usd } = await client.get<CreditBalance>(balancePath)
  show(context, grant, `${added}. Available: ${shown(available_usd)}.`)
}

const revokeGrant: Run<object> = async context => {
  const [id = ''] = context.words
  const grant = await context.client.post<CreditGrant>(`${grantsPath}/${path`${id}`}/revoke`, {})
  const { ended_usd: ended, spent_usd: spent, remaining_usd: left } = grant
  const rest =
    readUsd(left) > 0n ? ` ${shown(left)} is reserved for calls in flight, and taken when they have ended.` : ''
  show(context, grant, `Revoked ${id}: ${shown(ended)} taken back, ${shown(spent)} had been spent.${rest}`)
}
