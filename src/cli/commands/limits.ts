/** `keyhouse limits`: how much the organization, a project or a key may ask of each model. */
import type { Command } from 'commander'
import type { LimitDimension } from '#contract/rate-limits.ts'
import { count } from '../amounts.ts'
import type { Client } from '../client.ts'
import { wrongUsage } from '../exit.ts'
import { projectKeyPath } from '../find-key.ts'
import { onServer, type Run } from '../server-command.ts'
import { projectPlace } from '../settings-place.ts'
import { show } from '../show.ts'
import type { Column } from '../table.ts'
import type { Terminal } from '../terminal.ts'
import { allOption, showOfModels } from '../test-models.ts'
import type { RateLimit, UsageTier } from '../wire.ts'

export function define(command: Command, terminal: Terminal): void {
  const list = command.command('list').description('the limits that hold, model by model')
  onServer(ofAny(list.option(...allOption)), terminal, listLimits)
  const set = withModel(command.command('set').description('set limits of a model; they cannot exceed those above'))
  for (const [option, about] of Object.values(options)) set.option(`--${option} <n>`, about)
  onServer<SetOptions>(ofAny(set), terminal, setLimits)
  const clear = withModel(command.command('clear').description('remove what was set for a model'))
  onServer(ofAny(clear), terminal, clearLimits)
  onServer(command.command('tier').description('the usage tier, and what the next one asks for'), terminal, showTier)
  const setTier = command
    .command('set-tier')
    .description('put an organization into a usage tier by hand (operator)')
    .argument('<tier>', 'free, 1 to 5, or none')
    .option('--organization <id>', "of this organization; the operator's own when not given")
  onServer<TierOptions>(setTier, terminal, setUsageTier)
}

const withModel = (command: Command): Command =>
  command.argument('<model>', 'its name, or * for all models without limits of their own')

const ofAny = (command: Command): Command =>
  command
    .option('--project <id>', 'of this project; of the first active one when nothing is given')
    .option('--key <id>', 'of this key, and those that replace it')
    .option('--organization [id]', "of the organization; the operator's may name any other one")

/** By the API's name: the option, and what it counts. */
const options = {
  max_requests_per_1_minute: ['requests', 'requests a minute'],
  max_tokens_per_1_minute: ['tokens', 'tokens a minute'],
  max_requests_per_1_day: ['daily-requests', 'requests a day'],
  max_tokens_per_1_day: ['daily-tokens', 'tokens a day'],
  max_concurrent_requests: ['concurrent', 'requests at one time'],
  max_images_per_1_minute: ['images', 'images a minute'],
  max_audio_megabytes_per_1_minute: ['audio-megabytes', 'megabytes of audio a minute'],
  batch_1_day_max_input_tokens: ['daily-batch-tokens', 'input tokens of batches a day'],
} as const satisfies Record<LimitDimension, readonly [option: string, about: string]>

// The keys of the table above: keys() forgets it
const dimensions = Object.keys(options) as LimitDimension[]

/** As commander names them; an organization without an id is `true`. */
type PlaceOptions = { project?: string; key?: string; organization?: string | true }
type SetOptions = PlaceOptions & Readonly<Record<string, string | true | undefined>>
type TierOptions = { organization?: string }

/** Where the limits are in the API, and whose they are. */
type Place = { readonly path: string; readonly query: string; readonly name: string }

async function placeOf(client: Client, { project, key, organization }: PlaceOptions): Promise<Place> {
  if (organization !== undefined && (project ?? key) !== undefined) {
    throw wrongUsage('--organization is for itself: leave --project and --key out.')
  }
  if (organization === true) return { path: '/v1/organization/rate_limits', query: '', name: 'the organization' }
  if (organization !== undefined) {
    const query = `?organization_id=${encodeURIComponent(organization)}`
    return { path: '/v1/organization/rate_limits', query, name: organization }
  }
  if (key !== undefined)
    return { path: `${await projectKeyPath(client, key, project)}/rate_limits`, query: '', name: key }
  const { path, name } = await projectPlace(client, project)
  return { path: `${path}/rate_limits`, query: '', name }
}

const rowPath = ({ path, query }: Place, model: string): string =>
  `${path}/${encodeURIComponent(`rl-${model}`)}${query}`

const limitColumn = (dimension: LimitDimension): Column<RateLimit> => ({
  title: options[dimension][0],
  align: 'right',
  cell: limit => {
    const value = limit[dimension]
    return value === undefined ? '' : count(value)
  },
})

const listLimits: Run<PlaceOptions & { all?: true }> = async shown => {
  const { client, options: given } = shown
  const { path } = await placeOf(client, given)
  const { organization } = given
  const query = typeof organization === 'string' ? { organization_id: organization } : {}
  const limits = await client.list<RateLimit>(path, query)
  const used = dimensions.filter(dimension => limits.some(limit => limit[dimension] !== undefined))
  const columns = [{ title: 'model', cell: ({ model }: RateLimit) => model }, ...used.map(limitColumn)]
  showOfModels(shown, limits, { columns, none: 'No limits.' })
}

/** At the beginning of a sentence; ids and names of projects stay as they are. */
const capital = (name: string): string => (name === 'the organization' ? 'The organization' : name)

const ofModel = (model: string): string => (model === '*' ? 'each other model' : model)

const setLimits: Run<SetOptions> = async context => {
  const { client, options: given } = context
  const [model = ''] = context.words
  const body = Object.fromEntries(dimensions.flatMap(dimension => limitOf(dimension, given)))
  if (Object.keys(body).length === 0) throw wrongUsage('Say which limit: --requests 60, --tokens 100000, …')
  const place = await placeOf(client, given)
  const limit = await client.post<RateLimit>(rowPath(place, model), body)
  const shown = dimensions.flatMap(dimension => {
    const value = limit[dimension]
    return value === undefined ? [] : [`${count(value)} ${options[dimension][1]}`]
  })
  show(context, limit, `${capital(place.name)} may ask ${ofModel(model)} for ${shown.join(', ')}.`)
}

const clearLimits: Run<PlaceOptions> = async context => {
  const { client, options: given } = context
  const [model = ''] = context.words
  const place = await placeOf(client, given)
  const answer = await client.delete<{ deleted: boolean }>(rowPath(place, model))
  const was = answer.deleted ? 'are removed' : 'were not set'
  show(context, answer, `Limits of ${place.name} for ${ofModel(model)} ${was}: those above hold.`)
}

function limitOf(dimension: LimitDimension, given: SetOptions): [LimitDimension, number][] {
  const [option] = options[dimension]
  const text = given[option.replaceAll(/-(\w)/g, (_all, letter: string) => letter.toUpperCase())]
  if (text === undefined) return []
  if (text === true || !/^[1-9]\d{0,12}$/.test(text)) {
    throw wrongUsage(`--${option} takes a whole number above 0, and not '${text}'.`)
  }
  return [[dimension, Number(text)]]
}

const tierPath = '/v1/organization/usage_tier'

const showTier: Run<object> = async context => sayTier(context, await context.client.get<UsageTier>(tierPath))

const setUsageTier: Run<TierOptions> = async context => {
  const [tier = ''] = context.words
  if (!/^(free|[1-5]|none)$/.test(tier)) throw wrongUsage(`A usage tier is free, 1 to 5, or none, and not '${tier}'.`)
  const { organization } = context.options
  const body = { usage_tier: tier === 'none' ? null : tier, ...(organization && { organization_id: organization }) }
  sayTier(context, await context.client.post<UsageTier>(tierPath, body))
}

function sayTier(context: Parameters<typeof show>[0], tier: UsageTier): void {
  const { organization_id: id, usage_tier: name, monthly_cap_usd: cap, next } = tier
  const is =
    name === null
      ? `${id} is in no usage tier: the settings' limits hold, and no monthly cap.`
      : `${id} is in usage tier ${name} and may spend $${cap} a month.`
  const then = next ? ` Tier ${next.usage_tier} asks for $${next.paid_usd} paid.` : ''
  show(context, tier, is + then)
}
