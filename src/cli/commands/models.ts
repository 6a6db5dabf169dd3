/** `keyhouse models`: what can be called, at which price, through which provider, under which other names. */
import type { Command } from 'commander'
import { bytes, readUsd, usd } from '../amounts.ts'
import { wrongUsage } from '../exit.ts'
import { onServer, type Run } from '../server-command.ts'
import { onePart } from '../show.ts'
import { type Column, table } from '../table.ts'
import { print, printJson, type Terminal } from '../terminal.ts'
import { allOption, hiddenLine, isTestModel } from '../test-models.ts'
import type { PlatformModel, Price } from '../wire.ts'
import { definePull } from './models-pull.ts'

const aliasesPath = '/v1/platform/model_aliases'

export function define(command: Command, terminal: Terminal): void {
  const list = command
    .command('list')
    .description('what can be called, with price and status')
    .option(...allOption)
  onServer(list, terminal, listModels)
  definePull(command.command('pull').description('fetch a model that runs inside Keyhouse'), terminal)
  const alias = command
    .command('alias')
    .description('let another name stand for a model, as in: alias davinci-codex tinyllama-1.1b-chat')
    .argument('<alias>')
    .argument('[model]')
    .option('--remove', 'the name stands for nothing any more')
  onServer(alias, terminal, setAlias)
}

const columns: readonly Column<PlatformModel>[] = [
  { title: 'name', cell: ({ name }) => name },
  { title: 'kind', cell: ({ kind }) => kind },
  { title: 'in / out per 1M tokens', cell: ({ price }) => showPrice(price) },
  { title: 'provider', cell: ({ routes }) => routes.map(({ provider }) => provider).join(', ') },
  { title: 'status', cell: showStatus },
  { title: 'also called', cell: ({ aliases }) => aliases.join(', ') },
]

const listModels: Run<{ all?: true }> = async ({ client, terminal, options }) => {
  const models = await client.list<PlatformModel>('/v1/platform/models')
  if (options.json) return void printJson(terminal, { object: 'list', data: models })
  const shown = options.all ? models : models.filter(model => !isTestModel(model))
  print(
    terminal,
    shown.length === 0 ? 'No models. Connect some: keyhouse providers add openai' : table(terminal, columns, shown),
  )
  for (const line of advice(shown)) print(terminal, line)
  if (shown.length < models.length) print(terminal, hiddenLine(models.length - shown.length))
}

function showPrice(price: Price | null): string {
  if (price === null) return 'none'
  const [input, output] = [readUsd(price.input_usd_per_million), readUsd(price.output_usd_per_million)]
  return input === 0n && output === 0n ? 'free' : `${usd(input)} / ${usd(output)}`
}

function showStatus({ local, price, routes }: PlatformModel): string {
  if (local?.status === 'downloading') return `downloading ${local.percent ?? 0} %`
  if (local?.status === 'absent') return `not fetched (${bytes(local.bytes)})`
  if (local && local.status !== 'ready') return local.status
  if (routes.length === 0) return 'no provider'
  return price === null ? 'no price' : 'ready'
}

/** For what is not ready, the one step that makes it so. */
function advice(models: readonly PlatformModel[]): string[] {
  const absent = models.find(({ local }) => local !== null && /absent|failed/.test(local.status))
  const unpriced = models.find(({ price }) => price === null)
  return [
    absent && `\nFetch it: keyhouse models pull ${absent.name}`,
    unpriced &&
      `\nCalls of a model without a price are refused: keyhouse prices set ${unpriced.name} --input USD --output USD`,
  ].filter(line => line !== undefined)
}

const setAlias: Run<{ remove?: true }> = async ({ client, terminal, options, words: [alias = '', model] }) => {
  if ((model === undefined) !== (options.remove === true))
    throw wrongUsage('Write `models alias NAME MODEL`, or `models alias NAME --remove`.')
  const answer = options.remove
    ? await client.delete<object>(`${aliasesPath}/${onePart(alias)}`)
    : await client.post<object>(aliasesPath, { alias, model })
  if (options.json) printJson(terminal, answer)
  else print(terminal, options.remove ? `${alias} stands for nothing any more.` : `${alias} now stands for ${model}.`)
}
