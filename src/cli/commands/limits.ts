/** `keyhouse limits`: how much a project may ask of each model. */
import type { Command } from 'commander'
import { count } from '../amounts.ts'
import { wrongUsage } from '../exit.ts'
import { onServer, type Run } from '../server-command.ts'
import { ofProject, type ProjectOption, projectPlace } from '../settings-place.ts'
import { type Column, table } from '../table.ts'
import { print, printJson, type Terminal } from '../terminal.ts'
import type { RateLimit } from '../wire.ts'

export function define(command: Command, terminal: Terminal): void {
  const list = command.command('list', { isDefault: true }).description('the limits that hold, model by model')
  onServer(ofProject(list), terminal, listLimits)
  const set = command
    .command('set')
    .description("set limits of a model; they cannot exceed the organization's")
    .argument('<model>', 'its name, or * for all models without limits of their own')
  for (const [option, about] of Object.values(options)) set.option(`--${option} <n>`, about)
  onServer<SetOptions>(ofProject(set), terminal, setLimits)
}

/** By the API's name: the option, and what it counts. */
const options = {
  max_requests_per_1_minute: ['requests', 'requests a minute'],
  max_tokens_per_1_minute: ['tokens', 'tokens a minute'],
  max_images_per_1_minute: ['images', 'images a minute'],
  max_audio_megabytes_per_1_minute: ['audio-megabytes', 'megabytes of audio a minute'],
  max_requests_per_1_day: ['daily-requests', 'requests a day'],
  batch_1_day_max_input_tokens: ['daily-batch-tokens', 'input tokens of batches a day'],
} as const
type Dimension = keyof typeof options

/** As commander names them. */
type SetOptions = ProjectOption & Readonly<Record<string, string | undefined>>

const limitColumn = (dimension: Dimension): Column<RateLimit> => ({
  title: options[dimension][0],
  align: 'right',
  cell: limit => {
    const value = limit[dimension]
    return value === undefined ? '' : count(value)
  },
})

// The keys of the table above: keys() forgets it
const dimensions = Object.keys(options) as Dimension[]

const listLimits: Run<ProjectOption> = async ({ client, terminal, options: { project, json } }) => {
  const { path } = await projectPlace(client, project)
  const limits = await client.list<RateLimit>(`${path}/rate_limits`)
  if (json) return void printJson(terminal, { object: 'list', data: limits })
  const used = dimensions.filter(dimension => limits.some(limit => limit[dimension] !== undefined))
  print(terminal, table(terminal, [{ title: 'model', cell: ({ model }) => model }, ...used.map(limitColumn)], limits))
}

const setLimits: Run<SetOptions> = async ({ client, terminal, options: given, words: [model = ''] }) => {
  const body = Object.fromEntries(dimensions.flatMap(dimension => limitOf(dimension, given)))
  if (Object.keys(body).length === 0) throw wrongUsage('Say which limit: --requests 60, --tokens 100000, …')
  const { path, name } = await projectPlace(client, given.project)
  const limit = await client.post<RateLimit>(`${path}/rate_limits/${encodeURIComponent(`rl-${model}`)}`, body)
  if (given.json) return void printJson(terminal, limit)
  const shown = dimensions.flatMap(dimension => {
    const value = limit[dimension]
    return value === undefined ? [] : [`${count(value)} ${options[dimension][1]}`]
  })
  print(terminal, `${name} may ask ${model === '*' ? 'each other model' : model} for ${shown.join(', ')}.`)
}

function limitOf(dimension: Dimension, given: SetOptions): [Dimension, number][] {
  const [option] = options[dimension]
  const text = given[option.replaceAll(/-(\w)/g, (_all, letter: string) => letter.toUpperCase())]
  if (text === undefined) return []
  if (!/^[1-9]\d{0,12}$/.test(text)) throw wrongUsage(`--${option} takes a whole number above 0, and not '${text}'.`)
  return [[dimension, Number(text)]]
}
