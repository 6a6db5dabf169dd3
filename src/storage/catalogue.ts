/** Reads all models, routes, aliases, prices and providers at once, in one snapshot, with the credentials opened. */
import type { ProviderId } from '#contract/ids.ts'
import type { Catalogue, Model, ModelKind, Target } from '#core/catalogue.ts'
import type { DatedPrice } from '#core/price.ts'
import { prepared, type Queryable } from './database.ts'
import { inOrder, type PriceRow, pricesInForce, toDatedPrice } from './prices.ts'
import { type Secrets, unseal } from './secrets.ts'

type ModelRow = {
  name: string
  kind: ModelKind
  owned_by: string
  created_at: Date
  context_tokens_max: number | null
  output_tokens_max: number | null
}

type RouteRow = {
  model: string
  upstream_model: string
  provider_id: ProviderId
  provider_name: string
  adapter: string
  base_url: string | null
  credential_sealed: Buffer | null
}

const allModels = prepared('catalogue_models', 'select * from models order by name')
const allPrices = prepared('catalogue_prices', `${pricesInForce} ${inOrder}`)
const allRoutes = prepared(
  'catalogue_routes',
  `select r.model, r.upstream_model, v.id as provider_id, v.name as provider_name, v.adapter, v.base_url,
     v.credential_sealed
   from model_routes r join providers v on v.id = r.provider_id order by r.model, r.position`,
)
const allAliases = prepared('catalogue_aliases', 'select alias, model from model_aliases')

/** @param onUnreadable hears of a provider whose credential the sealing key does not open; its routes are left out. */
export async function readCatalogue(
  database: Queryable,
  secrets: Secrets,
  onUnreadable: (provider: string, cause: unknown) => void,
): Promise<Catalogue> {
  const [models, prices, routes, aliases] = await Promise.all([
    database.query<ModelRow>(allModels),
    database.query<PriceRow>(allPrices),
    database.query<RouteRow>(allRoutes),
    database.query<{ alias: string; model: string }>(allAliases),
  ])
  const targets = targetsByModel(routes, secrets, onUnreadable)
  const priced = Map.groupBy(prices, row => row.model)
  const pricesOf = (name: string): DatedPrice[] => (priced.get(name) ?? []).map(toDatedPrice)
  return {
    models: new Map(models.map(row => [row.name, toModel(row, targets.get(row.name) ?? [], pricesOf(row.name))])),
    aliases: new Map(aliases.map(row => [row.alias, row.model])),
  }
}

function targetsByModel(
  rows: readonly RouteRow[],
  secrets: Secrets,
  onUnreadable: (provider: string, cause: unknown) => void,
): Map<string, Target[]> {
  const byModel = new Map<string, Target[]>()
  for (const row of rows) {
    try {
      const targets = byModel.get(row.model) ?? []
      targets.push(toTarget(row, secrets))
      byModel.set(row.model, targets)
    } catch (cause) {
      onUnreadable(row.provider_name, cause)
    }
  }
  return byModel
}

const toTarget = (row: RouteRow, secrets: Secrets): Target => ({
  providerId: row.provider_id,
  providerName: row.provider_name,
  adapter: row.adapter,
  baseUrl: row.base_url,
  credential: row.credential_sealed && unseal(secrets, row.credential_sealed, row.provider_id),
  upstreamModel: row.upstream_model,
})

const toModel = (row: ModelRow, targets: readonly Target[], prices: readonly DatedPrice[]): Model => ({
  name: row.name,
  kind: row.kind,
  ownedBy: row.owned_by,
  createdAt: Math.floor(row.created_at.getTime() / 1000),
  contextTokensMax: row.context_tokens_max,
  outputTokensMax: row.output_tokens_max,
  prices,
  targets,
})
