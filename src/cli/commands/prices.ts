/** `keyhouse prices`: what models cost, what the bundled table says of it, and the margin on top. */
import type { Command } from 'commander'
import type { z } from 'zod'
import type { price, prices } from '#contract/prices.ts'
import { dateTime, readUsd, usd } from '../amounts.ts'
import { askYes } from '../ask.ts'
import type { Client } from '../client.ts'
import { CliError, wrongUsage } from '../exit.ts'
import { addDetailsOptions, checkPercent, type DetailsOptions, readDetailsOptions } from '../price-details.ts'
import { addPriceOptions, type PriceOptions, readPrice } from '../price-options.ts'
import { onServer, type Run } from '../server-command.ts'
import { path, show, showList } from '../show.ts'
import { type Column, table } from '../table.ts'
import { canAsk, print, type Terminal } from '../terminal.ts'
import { allOption, showOfModels } from '../test-models.ts'
import type { PlatformModel } from '../wire.ts'

type Price = z.output<typeof price>
type Difference = z.output<typeof prices.diff.answer>['data'][number]
type UpdateOptions = { model?: string[]; overwrite?: string[]; yes?: true }
type SetOptions = PriceOptions & DetailsOptions & { margin?: string; from?: string }

const pricesPath = '/v1/platform/prices'
const marginPath = '/v1/platform/price_margin'

export function define(command: Command, terminal: Terminal): void {
  const inForce = command.command('list').description('prices in force, and those that begin later')
  onServer(inForce.option(...allOption), terminal, list)
  onServer(
    command.command('diff').description('what the bundled table of well-known providers says otherwise'),
    terminal,
    diff,
  )
  const update = command
    .command('update')
    .description('take over what the bundled table says, from now on; no earlier price changes')
    .option('--model <name...>', 'these models alone')
    .option('--overwrite <name...>', 'also these, whose price you have set yourself')
    .option('-y, --yes', 'do not ask')
  onServer<UpdateOptions>(update, terminal, updatePrices)
  const set = command
    .command('set')
    .description('set what a model costs from now on; calls before keep their price')
    .argument('<model>')
    .option('--margin <percent>', "on top of the known price; 'none': that of the installation")
    .option('--from <date>', 'when it begins, as in 2027-01-01; now when not given')
  onServer<SetOptions>(addDetailsOptions(addPriceOptions(set)), terminal, setPrice)
  const margin = command
    .command('margin')
    .description('show or set the percentage on top of known prices')
    .argument('[percent]')
  onServer(margin, terminal, setMargin)
}

const columns: readonly Column<Price>[] = [
  { title: 'model', cell: ({ model }) => model },
  { title: 'in', align: 'right', cell: price => usd(readUsd(price.input_usd_per_million)) },
  { title: 'cached', align: 'right', cell: price => usd(readUsd(price.cached_input_usd_per_million)) },
  { title: 'out', align: 'right', cell: price => usd(readUsd(price.output_usd_per_million)) },
  { title: 'also', cell: showDetails },
  { title: 'from', cell: ({ effective_from }) => dateTime(effective_from) },
  { title: 'hours (UTC)', cell: ({ hours }) => (hours ? `${hours.from}-${hours.to}` : '') },
  {
    title: 'margin',
    align: 'right',
    cell: ({ margin_percent }) => (margin_percent === '0' ? '' : `${margin_percent} %`),
  },
  { title: 'source', cell: ({ source }) => source },
]

function showDetails({ rates, calls, units, long_context, service_tier_percents }: Price): string {
  const amounts = { ...rates, ...calls, ...units }
  const tiers = (long_context ?? []).map(({ above_input_tokens: tokens }) => `dearer above ${tokens}`)
  const percents = Object.entries(service_tier_percents ?? {}).map(([tier, percent]) => `${tier} ${percent} %`)
  return [...Object.entries(amounts).map(([name, amount]) => `${name} ${amount}`), ...tiers, ...percents].join(', ')
}

const list: Run<{ all?: true }> = async shown => {
  const rows = await shown.client.list<Price>(pricesPath)
  showOfModels(shown, rows, { columns, none: 'No prices. They come with models: keyhouse providers add openai' })
}

const readDifferences = async (client: Client): Promise<Difference[]> =>
  (await client.get<{ data: Difference[] }>(`${pricesPath}/diff`)).data

type Line = Difference['changes'][number] & { readonly model: string; readonly kept: boolean }

const differenceColumns: readonly Column<Line>[] = [
  { title: 'model', cell: ({ model }) => model },
  { title: 'what', cell: ({ rate }) => rate },
  { title: 'now', align: 'right', cell: ({ now }) => now ?? '' },
  { title: 'known', align: 'right', cell: ({ known }) => known ?? '' },
  {
    title: 'change',
    align: 'right',
    cell: ({ percent }) => (percent === null ? '' : `${percent > 0 ? '+' : ''}${percent} %`),
  },
  { title: '', cell: ({ kept }) => (kept ? 'your own price' : '') },
]

const linesOf = (differences: readonly Difference[]): Line[] =>
  differences.flatMap(({ model, kept, changes }) => changes.map(change => ({ ...change, model, kept })))

const diff: Run<object> = async shown => {
  const differences = await readDifferences(shown.client)
  if (shown.options.json) return void showList(shown, differences, { columns: [], none: '' })
  const none = 'Every price that the bundled table knows is as it says.'
  showList(shown, linesOf(differences), { columns: differenceColumns, none })
}

const updatePrices: Run<UpdateOptions> = async shown => {
  const { client, terminal, options } = shown
  const { model: models, overwrite = [] } = options
  if (!options.yes) await confirm(client, terminal, options)
  const body = { ...(models && { models }), overwrite }
  const added = await client.post<{ data: Price[] }>(`${pricesPath}/update`, body)
  if (options.json) return void showList(shown, added.data, { columns, none: '' })
  showList(shown, added.data, { columns, none: 'Nothing to update.' })
}

async function confirm(client: Client, terminal: Terminal, { model, overwrite = [] }: UpdateOptions): Promise<void> {
  if (!canAsk(terminal))
    throw wrongUsage('This changes what calls cost from now on. Add --yes to do it without being asked.')
  const wanted = (await readDifferences(client)).filter(
    difference =>
      overwrite.includes(difference.model) || (!difference.kept && (!model || model.includes(difference.model))),
  )
  if (wanted.length === 0) return
  print(terminal, table(terminal, differenceColumns, linesOf(wanted)))
  const question = `Charge these prices from now on (${wanted.length} models)?`
  if (!(await askYes(terminal, question))) throw new CliError('failed', 'Nothing was changed.')
}

const setPrice: Run<SetOptions> = async shown => {
  const {
    client,
    options,
    words: [name = ''],
  } = shown
  const { margin, from } = options
  const rates = readPrice(options)
  const details = readDetailsOptions(options)
  if (!rates && Object.keys(details).length > 0) throw wrongUsage('A price needs --input and --output as well.')
  if (!rates && margin === undefined)
    throw wrongUsage('Say what it costs: --input USD --output USD, or --margin PERCENT.')
  const model = await client.post<PlatformModel>(`${path`/v1/platform/models/${name}`}/price`, {
    ...rates,
    ...details,
    ...(margin !== undefined && { margin_percent: margin === 'none' ? null : checkPercent(margin) }),
    ...(from !== undefined && { effective_from: readDate(from) }),
  })
  const { price } = model
  const now =
    price &&
    `a million tokens of ${name} cost ${usd(readUsd(price.input_usd_per_million))} in and ${usd(readUsd(price.output_usd_per_million))} out`
  show(shown, model, from === undefined ? `From now on, ${now}.` : `It begins ${from}. Until then, ${now}.`)
}

function readDate(text: string): number {
  const ms = /^\d{4}-\d{2}-\d{2}(T[\d:.]+Z?)?$/.test(text)
    ? Date.parse(text.length > 10 && !text.endsWith('Z') ? `${text}Z` : text)
    : Number.NaN
  if (!Number.isNaN(ms)) return Math.floor(ms / 1000)
  throw wrongUsage(`'${text}' is not a date. Write it as in 2027-01-01 or 2027-01-01T06:00:00Z; it is taken as UTC.`)
}

const setMargin: Run<object> = async shown => {
  const {
    client,
    words: [percent],
  } = shown
  if (percent === undefined) {
    const margin = await client.get<{ percent: string }>(marginPath)
    return show(shown, margin, `${margin.percent} % on top of known prices.`)
  }
  const margin = await client.post<{ percent: string }>(marginPath, { percent: checkPercent(percent) })
  show(shown, margin, `${margin.percent} % on top of known prices, once they are updated: keyhouse prices update`)
}
