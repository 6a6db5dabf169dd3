/** Providers. A credential leaves this table sealed and is opened only where it is used. */
import type { ProviderId } from '#contract/ids.ts'
import { type Queryable, sql } from './database.ts'
import { behindCursor, type Order, type Page, type PageRequest, rowsToRead, toPage } from './keyset.ts'

export type ProviderRow = {
  id: ProviderId
  name: string
  adapter: string
  base_url: string | null
  credential_sealed: Buffer | null
  credential_hint: string | null
  created_at: Date
  models: string[]
  unpriced_models: string[]
}

const routed = (also: string): string => `array(
    select distinct r.model from model_routes r where r.provider_id = providers.id ${also} order by r.model)`

const selectProviders = `select providers.id, providers.name, providers.adapter, providers.base_url,
    providers.credential_sealed, providers.credential_hint, providers.created_at, ${routed('')} as models,
    ${routed('and not exists (select from prices p where p.model = r.model and p.effective_from <= now())')}
      as unpriced_models
  from providers`

const providerList = {
  table: 'providers',
  columns: ['created_at', 'id'],
  id: 'id',
  within: 'true',
  deletedWithin: "''",
}
const providersPage = (order: Order): string =>
  `${selectProviders} where ${behindCursor(providerList, order, ['$1', '$2'])}`

export async function listProviders(database: Queryable, page: PageRequest): Promise<Page<ProviderRow>> {
  const values = [page.after ?? null, rowsToRead(page)]
  return toPage(await database.query<ProviderRow>(sql(providersPage(page.order)), values), page)
}

/** By id, else by name. */
export async function findProvider(database: Queryable, idOrName: string): Promise<ProviderRow | undefined> {
  const text = `${selectProviders} where $1 in (providers.id, providers.name)
    order by providers.id = $1 desc limit 1`
  const [row] = await database.query<ProviderRow>(sql(text), [idOrName])
  return row
}

export type ProviderDraft = {
  readonly id: ProviderId
  readonly name: string
  readonly adapter: string
  readonly baseUrl: string | null
  readonly credentialSealed: Buffer | null
  readonly credentialHint: string | null
}

export async function upsertProvider(tx: Queryable, draft: ProviderDraft): Promise<void> {
  await tx.query(
    sql(`insert into providers (id, name, adapter, base_url, credential_sealed, credential_hint)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (id) do update set base_url = excluded.base_url,
           credential_sealed = excluded.credential_sealed, credential_hint = excluded.credential_hint`),
    [draft.id, draft.name, draft.adapter, draft.baseUrl, draft.credentialSealed, draft.credentialHint],
  )
}

/** One that comes with Keyhouse and needs no address or credential; its id, whoever made it. */
export async function ensureProvider(
  tx: Queryable,
  { id, name, adapter }: { id: ProviderId; name: string; adapter: string },
): Promise<ProviderId> {
  await tx.query(sql('insert into providers (id, name, adapter) values ($1, $2, $3) on conflict (name) do nothing'), [
    id,
    name,
    adapter,
  ])
  const [row] = await tx.query<{ id: ProviderId }>(sql('select id from providers where name = $1'), [name])
  return row?.id ?? id
}

export async function deleteProvider(tx: Queryable, id: ProviderId): Promise<void> {
  await tx.query(sql('delete from providers where id = $1'), [id])
}
