/** `keyhouse spend-limit`: the most that the organization, or a project, may spend in a calendar month. */
import type { Command } from 'commander'
import { dateTime, readUsd, usd } from '../amounts.ts'
import { readCents, showCents } from '../cents.ts'
import { CliError } from '../exit.ts'
import { onServer, type Run } from '../server-command.ts'
import { eitherPlace, ofEither, type ProjectOption } from '../settings-place.ts'
import { print, printJson, type Terminal } from '../terminal.ts'
import type { Spend, SpendLimit } from '../wire.ts'

export function define(command: Command, terminal: Terminal): void {
  const show = command.command('show').description('the limit, and what is left of it')
  onServer(ofEither(show), terminal, showLimit)
  const set = command
    .command('set')
    .description('a limit a month (UTC)')
    .argument('<usd>', 'dollars, as in 50 or 12.50')
  onServer(ofEither(set), terminal, setLimit)
  onServer(ofEither(command.command('clear').description('no limit')), terminal, clearLimit)
}

const showLimit: Run<ProjectOption> = async ({ client, terminal, options }) => {
  const { path, name } = await eitherPlace(client, options.project)
  try {
    const limit = await client.get<SpendLimit>(`${path}/spend_limit`)
    if (options.json) return void printJson(terminal, limit)
    const spend = await client.get<Spend>(`${path}/spend`)
    print(terminal, `${sentence(name, limit)} ${standing(spend)}`)
  } catch (error) {
    if (options.json || !(error instanceof CliError) || error.reason !== 'notFound') throw error
    print(terminal, `No spend limit is set for ${name}.`)
  }
}

const setLimit: Run<ProjectOption> = async ({ client, terminal, options, words: [amount = ''] }) => {
  const body = { threshold_amount: readCents(amount), currency: 'USD', interval: 'month' }
  const { path, name } = await eitherPlace(client, options.project)
  const limit = await client.post<SpendLimit>(`${path}/spend_limit`, body)
  if (options.json) printJson(terminal, limit)
  else print(terminal, sentence(name, limit))
}

const clearLimit: Run<ProjectOption> = async ({ client, terminal, options }) => {
  const { path, name } = await eitherPlace(client, options.project)
  const answer = await client.delete<object>(`${path}/spend_limit`)
  if (options.json) printJson(terminal, answer)
  else print(terminal, `No spend limit is set for ${name}.`)
}

const sentence = (name: string, { threshold_amount: cents }: SpendLimit): string =>
  `The spend limit of ${name} is ${showCents(cents)} a month.`

const standing = ({ spent_usd: spent, remaining_usd: left, resets_at: at }: Spend): string =>
  `${usd(readUsd(spent))} is spent, ${usd(readUsd(left ?? '0'))} left; it starts anew at ${dateTime(at)} UTC.`
