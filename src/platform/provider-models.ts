/** Which models a provider brings along, and what they cost. */
import { apiError } from '#contract/errors.ts'
import type { ProviderId } from '#contract/ids.ts'
import { testModelPrefix } from '#contract/models.ts'
import { type ProviderModelInput, providerModelsMax } from '#contract/providers.ts'
import { zeroUsd } from '#core/money.ts'
import type { Queryable } from '#storage/database.ts'
import { addRoute, dropRoutes, upsertModel } from '#storage/models.ts'
import { currentPrices, insertPrices, marginOf, type PriceDraft, type PriceRow } from '#storage/prices.ts'
import { readUsd } from './amounts.ts'
import { discoverModels, type Upstream } from './discover-models.ts'
import { knownPrices } from './known-prices.ts'
import { isSameSet, raised } from './price-sets.ts'
import { freeSource, isNominal, knownPriceSource, operatorSource } from './price-sources.ts'

/** A price set: what holds from now on, and what begins later. */
export type PriceOffer = { readonly prices: readonly PriceDraft[]; readonly source: string }
export type ChosenModel = ProviderModelInput & {
  /** Undefined: nobody knows. */
  readonly offer: PriceOffer | undefined
}

type Choice = {
  readonly models?: readonly ProviderModelInput[] | undefined
  readonly discover?: boolean | undefined
  readonly free?: boolean | undefined
}

/** What the operator named, and what the provider says it has; the operator's word goes first. */
export async function chooseModels(upstream: Upstream, choice: Choice): Promise<ChosenModel[]> {
  const { models = [], discover = choice.models === undefined, free = false } = choice
  for (const [index, model] of models.entries()) checkModel(model, `models[${index}]`)
  const found = discover ? await discoverModels(upstream) : []
  const named = new Set(models.map(({ name }) => name))
  const usable = found.filter(({ name }) => !named.has(name) && !name.startsWith(testModelPrefix))
  const chosen: ProviderModelInput[] = [...models, ...usable]
  if (chosen.length > providerModelsMax) throw tooMany(chosen.length)
  const lookUp = await knownPrices(upstream)
  return chosen.map(model => {
    const known = free ? undefined : lookUp(model.upstream_model ?? model.name)
    const listed = known && { prices: known, source: knownPriceSource }
    return { ...model, offer: givenPrice(model) ?? (free ? freeOffer : listed) }
  })
}

const freeOffer = { prices: [{ input: zeroUsd, cachedInput: zeroUsd, output: zeroUsd }], source: freeSource }

function checkModel(model: ProviderModelInput, path: string): void {
  if (model.name.startsWith(testModelPrefix)) {
    const message = `Invalid '${path}.name': names that begin with ${testModelPrefix} belong to the test models.`
    throw apiError('invalid_parameter', { param: `${path}.name`, message, code: 'invalid_value' })
  }
  const { input_usd_per_million: input, output_usd_per_million: output, cached_input_usd_per_million: cached } = model
  if (input === undefined && (output ?? cached) !== undefined) throw missing(`${path}.input_usd_per_million`)
  if (input !== undefined && output === undefined && model.kind !== 'embedding') {
    throw missing(`${path}.output_usd_per_million`)
  }
}

const missing = (param: string): Error => apiError('missing_parameter', { param })

function givenPrice(model: ProviderModelInput): PriceOffer | undefined {
  if (model.input_usd_per_million === undefined) return undefined
  const input = readUsd(model.input_usd_per_million)
  const price = {
    input,
    cachedInput: model.cached_input_usd_per_million === undefined ? input : readUsd(model.cached_input_usd_per_million),
    output: readUsd(model.output_usd_per_million ?? 0),
  }
  return { prices: [price], source: operatorSource }
}

const tooMany = (count: number): Error =>
  apiError('invalid_parameter', {
    param: 'models',
    message: `The provider has ${count} models, and at most ${providerModelsMax} can be added at once. Name the ones to add.`,
  })

/** The provider serves these from now on, and none of the others that it did before. */
export async function saveModels(
  tx: Queryable,
  provider: { id: ProviderId; name: string },
  models: readonly ChosenModel[],
): Promise<void> {
  await dropRoutes(
    tx,
    provider.id,
    models.map(({ name }) => name),
  )
  for (const model of models) await saveModel(tx, provider, model)
}

async function saveModel(tx: Queryable, provider: { id: ProviderId; name: string }, model: ChosenModel): Promise<void> {
  const { name, offer } = model
  const current = await currentPrices(tx, name)
  const inForce = current.find(row => row.in_force)
  if (!offer && inForce && isNominal(inForce.source)) throw priceWanted(name)
  await upsertModel(tx, {
    name,
    kind: model.kind,
    ownedBy: provider.name,
    contextTokensMax: model.context_tokens_max,
    outputTokensMax: model.output_tokens_max,
  })
  await addRoute(tx, name, { providerId: provider.id, upstreamModel: model.upstream_model ?? name })
  if (!offer) return
  const prices = offer.source === knownPriceSource ? raised(offer.prices, await marginOf(tx, name)) : offer.prices
  if (isNews(current, inForce, { ...offer, prices })) await insertPrices(tx, name, prices, offer.source)
}

/** What the operator says always counts; a table's price never replaces one that the operator has set. */
function isNews(current: readonly PriceRow[], inForce: PriceRow | undefined, { prices, source }: PriceOffer): boolean {
  if (!inForce) return true
  const replaces = source === operatorSource || source === inForce.source || isNominal(inForce.source)
  return replaces && !isSameSet(current, prices)
}

const priceWanted = (model: string): Error =>
  apiError('conflict', {
    message:
      `The model \`${model}\` costs next to nothing where it is or was served, and what it costs at this provider is not ` +
      'known. Give it a price in `models`, or send free: true.',
  })
