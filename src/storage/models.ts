/** The catalogue as the operator manages it. What the gateway reads of it is in catalogue.ts. */
import type { ProviderId } from '#contract/ids.ts'
import type { ModelKind } from '#core/catalogue.ts'
import { type Queryable, sql } from './database.ts'
import { behindCursor, type Order, type Page, type PageRequest, rowsToRead, toPage } from './keyset.ts'

export type ModelRow = {
  name: string
  kind: ModelKind
  owned_by: string
  context_tokens_max: number | null
  output_tokens_max: number | null
  effective_from: Date | null
  source: string | null
  input_nano_usd_per_million: bigint | null
  cached_input_nano_usd_per_million: bigint | null
  output_nano_usd_per_million: bigint | null
  price_id: bigint | null
  price_details: unknown
  margin_basis_points: number | null
  routes: { provider: string; upstream_model: string }[]
  aliases: string[]
}

const catalogueLock = 4150927004

/** One change of the catalogue at a time; held until the transaction ends. */
export async function lockCatalogue(tx: Queryable): Promise<void> {
  await tx.query(sql('select pg_advisory_xact_lock($1)'), [catalogueLock])
}

const selectModels = `select models.name, models.kind, models.owned_by, models.context_tokens_max,
    models.output_tokens_max, p.effective_from, p.source, p.input_nano_usd_per_million,
    p.cached_input_nano_usd_per_million, p.output_nano_usd_per_million, p.margin_basis_points,
    p.id as price_id, p.details as price_details,
    coalesce((select json_agg(json_build_object('provider', v.name, 'upstream_model', r.upstream_model)
        order by r.position) from model_routes r join providers v on v.id = r.provider_id where r.model = models.name),
      '[]') as routes,
    array(select alias from model_aliases a where a.model = models.name order by alias) as aliases
  from models left join lateral (
    select * from prices where model = models.name and effective_from <= now() and daily_from is null
    order by set_number desc, effective_from desc, id desc limit 1
  ) p on true`

const modelList = { table: 'models', columns: ['name'], id: 'name', within: 'true' }
const modelsPage = (order: Order): string => `${selectModels} where ${behindCursor(modelList, order, ['$1', '$2'])}`

export async function listModels(database: Queryable, page: PageRequest): Promise<Page<ModelRow>> {
  const values = [page.after ?? null, rowsToRead(page)]
  return toPage(await database.query<ModelRow>(sql(modelsPage(page.order)), values), page)
}

export async function findModel(database: Queryable, name: string): Promise<ModelRow | undefined> {
  const [row] = await database.query<ModelRow>(sql(`${selectModels} where models.name = $1`), [name])
  return row
}

export async function modelNames(database: Queryable): Promise<string[]> {
  const rows = await database.query<{ name: string }>(sql('select name from models order by name'))
  return rows.map(({ name }) => name)
}

export type ModelDraft = {
  readonly name: string
  /** Undefined leaves what is there; a new model is for chat. */
  readonly kind?: ModelKind | undefined
  readonly ownedBy: string
  readonly contextTokensMax?: number | undefined
  readonly outputTokensMax?: number | undefined
}

/** Makes the model, or changes what the draft says of it. */
export async function upsertModel(tx: Queryable, draft: ModelDraft): Promise<void> {
  await tx.query(
    sql(`insert into models (name, kind, owned_by, context_tokens_max, output_tokens_max)
         values ($1, coalesce($2, 'chat'), $3, $4, $5)
         on conflict (name) do update set kind = coalesce($2, models.kind),
           context_tokens_max = coalesce($4, models.context_tokens_max),
           output_tokens_max = coalesce($5, models.output_tokens_max)`),
    [draft.name, draft.kind ?? null, draft.ownedBy, draft.contextTokensMax ?? null, draft.outputTokensMax ?? null],
  )
}

export type Route = { readonly providerId: ProviderId; readonly upstreamModel: string }

/** Replaces all routes of the model, in this order. */
export async function setRoutes(tx: Queryable, model: string, routes: readonly Route[]): Promise<void> {
  await tx.query(sql('delete from model_routes where model = $1'), [model])
  await tx.query(
    sql(`insert into model_routes (model, position, provider_id, upstream_model)
         select $1, t.position, t.provider_id, t.upstream_model
         from unnest($2::text[], $3::text[]) with ordinality as t (provider_id, upstream_model, position)`),
    [model, routes.map(route => route.providerId), routes.map(route => route.upstreamModel)],
  )
}

/** Adds this provider behind the others, or changes the name that the model has there and keeps its place. */
export async function addRoute(tx: Queryable, model: string, { providerId, upstreamModel }: Route): Promise<void> {
  const text = 'update model_routes set upstream_model = $3 where model = $1 and provider_id = $2 returning position'
  if ((await tx.query(sql(text), [model, providerId, upstreamModel])).length > 0) return
  await tx.query(
    sql(`insert into model_routes (model, position, provider_id, upstream_model)
         select $1, coalesce(max(position), 0) + 1, $2, $3 from model_routes where model = $1`),
    [model, providerId, upstreamModel],
  )
}

/** Takes the provider's routes to all but these models away, and with them the models that nobody else serves. */
export async function dropRoutes(tx: Queryable, provider: ProviderId, keep: readonly string[]): Promise<void> {
  const gone = await tx.query<{ model: string }>(
    sql('delete from model_routes where provider_id = $1 and model <> all ($2) returning model'),
    [provider, keep],
  )
  await tx.query(
    sql(`delete from models m where name = any ($1)
         and not exists (select from model_routes r where r.model = m.name)`),
    [gone.map(({ model }) => model)],
  )
}

export async function deleteModel(tx: Queryable, name: string): Promise<boolean> {
  return (await tx.query(sql('delete from models where name = $1 returning name'), [name])).length > 0
}

export type AliasRow = { alias: string; model: string }

const aliasList = { table: 'model_aliases', columns: ['alias'], id: 'alias', within: 'true' }
const aliasesPage = (order: Order): string =>
  `select alias, model from model_aliases where ${behindCursor(aliasList, order, ['$1', '$2'])}`

export async function listAliases(database: Queryable, page: PageRequest): Promise<Page<AliasRow>> {
  const values = [page.after ?? null, rowsToRead(page)]
  return toPage(await database.query<AliasRow>(sql(aliasesPage(page.order)), values), page)
}

export async function findAlias(database: Queryable, alias: string): Promise<AliasRow | undefined> {
  const [row] = await database.query<AliasRow>(sql('select alias, model from model_aliases where alias = $1'), [alias])
  return row
}

/** One of these names that is an alias. */
export async function firstAlias(database: Queryable, names: readonly string[]): Promise<AliasRow | undefined> {
  const text = 'select alias, model from model_aliases where alias = any($1) order by array_position($1, alias) limit 1'
  const [row] = await database.query<AliasRow>(sql(text), [names])
  return row
}

export async function upsertAlias(tx: Queryable, { alias, model }: AliasRow): Promise<void> {
  await tx.query(
    sql(`insert into model_aliases (alias, model) values ($1, $2)
         on conflict (alias) do update set model = excluded.model`),
    [alias, model],
  )
}

export async function deleteAlias(tx: Queryable, alias: string): Promise<boolean> {
  return (await tx.query(sql('delete from model_aliases where alias = $1 returning alias'), [alias])).length > 0
}
