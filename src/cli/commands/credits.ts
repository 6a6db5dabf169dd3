import type { Command } from 'commander'
import { readUsd, usd } from '../amounts.ts'
import { checkUsd } from '../price-options.ts'
import { onServer, type Run } from '../server-command.ts'
import { print, printJson, type Terminal } from '../terminal.ts'
import type { CreditBalance, CreditGrant } from '../wire.ts'

export function define(command: Command, terminal: Terminal): void {
  const show = command.command('show', { isDefault: true }).description('what the organization has left')
  onServer(show, terminal, showCredit)
  const add = command
    .command('add')
    .description('give the organization credit')
    .argument('<usd>', 'dollars, as in 50 or 12.50')
    .option('--reference <text>', 'your own name for it, as an invoice number: the same one is refused twice')
    .option('--note <text>', 'why')
  onServer(add, terminal, addCredit)
}

const balancePath = '/v1/organization/credit_balance'

const showCredit: Run<object> = async ({ client, terminal, options }) => {
  const balance = await client.get<CreditBalance>(balancePath)
  if (options.json) return void printJson(terminal, balance)
  print(terminal, `Available  ${usd(readUsd(balance.available_usd))}`)
  print(terminal, `Reserved   ${usd(readUsd(balance.reserved_usd))}  for calls in flight and running servers`)
}

type AddOptions = { reference?: string; note?: string }

const addCredit: Run<AddOptions> = async ({ client, terminal, options, words: [amount = ''] }) => {
  const body = { amount_usd: checkUsd(amount), reference: options.reference, note: options.note }
  const grant = await client.post<CreditGrant>('/v1/organization/credit_grants', body)
  if (options.json) return void printJson(terminal, grant)
  const { available_usd } = await client.get<CreditBalance>(balancePath)
  print(terminal, `Added ${usd(readUsd(grant.amount_usd))} (${grant.id}). Available: ${usd(readUsd(available_usd))}.`)
}
