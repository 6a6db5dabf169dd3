/** `keyhouse keys budget`: the most that a key may spend in a period, or in all. */
import { type Command, Option } from 'commander'
import { dateTime, readUsd, usd } from '../amounts.ts'
import { CliError } from '../exit.ts'
import { projectKeyPath } from '../find-key.ts'
import { checkUsd } from '../price-options.ts'
import { onServer, type Run } from '../server-command.ts'
import { show } from '../show.ts'
import { print, type Terminal } from '../terminal.ts'
import type { KeyBudget } from '../wire.ts'

export function defineBudget(command: Command, terminal: Terminal): void {
  const verb = (name: string, about: string): Command =>
    command
      .command(name)
      .description(about)
      .argument('<id>', 'key_…, as `keyhouse keys list` shows it')
      .option('--project <id>', 'the project that it belongs to; found when not given')
  onServer(verb('show', 'the budget, and what is left of it'), terminal, showBudget)
  const set = verb('set', 'what it has spent in the period stands')
    .argument('<usd>', 'dollars, as in 50 or 12.50')
    .addOption(budgetPeriod('--period <period>'))
  onServer(set, terminal, setBudget)
  onServer(verb('clear', 'no budget'), terminal, clearBudget)
}

const periods = ['day', 'week', 'month', 'total'] as const

export const budgetPeriod = (flags: string): Option =>
  new Option(flags, 'from midnight UTC').choices(periods).default('month')

type OfProject = { project?: string }
type Context = Parameters<Run<OfProject>>[0]

const budgetPath = async ({ client, options, words: [id = ''] }: Context): Promise<string> =>
  `${await projectKeyPath(client, id, options.project)}/budget`

const showBudget: Run<OfProject> = async context => {
  const path = await budgetPath(context)
  try {
    const budget = await context.client.get<KeyBudget>(path)
    show(context, budget, sentence(budget))
  } catch (error) {
    if (context.options.json || !(error instanceof CliError) || error.reason !== 'notFound') throw error
    print(context.terminal, none(context))
  }
}

const setBudget: Run<OfProject & { period: string }> = async context => {
  const [, amount = ''] = context.words
  const body = { limit_usd: checkUsd(amount), period: context.options.period }
  const budget = await context.client.post<KeyBudget>(await budgetPath(context), body)
  show(context, budget, `${sentence(budget)}\nEvery server holds the key to it within a second.`)
}

const clearBudget: Run<OfProject> = async context =>
  show(context, await context.client.delete<object>(await budgetPath(context)), none(context))

const none = ({ words: [id = ''] }: Context): string => `${id} has no budget.`

function sentence(budget: KeyBudget): string {
  const { key_id: id, shared_from: first, limit_usd: limit, period, resets_at: at } = budget
  const [spent, reserved, left] = [budget.spent_usd, budget.reserved_usd, budget.remaining_usd].map(shown)
  const each = period === 'total' ? 'in all' : `a ${period}`
  const starts = at === null ? 'It does not start anew.' : `It starts anew at ${dateTime(at)} UTC.`
  const shared = first === id ? '' : ` Shared with ${first}, which it replaced, and whatever did so in between.`
  return `The budget of ${id} is ${shown(limit)} ${each}: ${spent} spent, ${reserved} reserved, ${left} left. ${starts}${shared}`
}

const shown = (amount: string): string => usd(readUsd(amount))
