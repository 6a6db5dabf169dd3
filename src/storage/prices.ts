/** Prices, as rows that are only ever added. Which of them is charged by: `inForce` below, and priceAt in core/price.ts. */
import { z } from 'zod'
import { priceDetails } from '#contract/prices.ts'
import { type NanoUsd, nanoUsd } from '#core/money.ts'
import type { DatedPrice, PriceDetails } from '#core/price.ts'
import { readDetails, writeDetails } from '#core/price-details.ts'
import { only, type Queryable, sql } from './database.ts'
import { type Order, type Page, type PageRequest, rowsToRead, toPage } from './keyset.ts'

/** In nano-dollars per million tokens. */
export type PriceDraft = {
  readonly input: NanoUsd
  readonly cachedInput: NanoUsd
  readonly output: NanoUsd
  readonly details?: PriceDetails | undefined
  /** Left out: from now on. */
  readonly startsAt?: Date | undefined
  /** The hours of the day in UTC, as in 01:00:00. Left out: all that have no row of their own. */
  readonly hours?: { readonly from: string; readonly to: string } | undefined
  readonly marginBasisPoints?: bigint | undefined
}

export type PriceRow = {
  id: bigint
  model: string
  source: string
  effective_from: Date
  in_force: boolean
  input_nano_usd_per_million: bigint
  cached_input_nano_usd_per_million: bigint
  output_nano_usd_per_million: bigint
  details: unknown
  daily_from: string | null
  daily_to: string | null
  margin_basis_points: number
}

/** Integers of jsonb are text: JSON numbers are floats. */
const nanoText = z.string().regex(/^\d{1,18}$/)
const storedDetails = priceDetails(nanoText)

export function parseDetails(row: Pick<PriceRow, 'id' | 'model' | 'details'>): PriceDetails | undefined {
  if (row.details === null) return undefined
  const { data, error } = storedDetails.safeParse(row.details)
  if (!data)
    throw new Error(`price ${row.id} of ${row.model} cannot be read: ${z.prettifyError(error)}`, { cause: error })
  return readDetails(data, text => nanoUsd(BigInt(text)))
}

export function toDatedPrice(row: PriceRow): DatedPrice {
  const daily = row.daily_from !== null && row.daily_to !== null
  return {
    id: row.id.toString(),
    inputNanoUsdPerMillion: nanoUsd(row.input_nano_usd_per_million),
    cachedInputNanoUsdPerMillion: nanoUsd(row.cached_input_nano_usd_per_million),
    outputNanoUsdPerMillion: nanoUsd(row.output_nano_usd_per_million),
    details: parseDetails(row),
    // By the database's clock: a node whose own is late must not find a model without a price
    startsAtMs: row.in_force ? 0 : row.effective_from.getTime(),
    ...(daily && { daily: { fromSecond: secondOf(row.daily_from ?? ''), toSecond: secondOf(row.daily_to ?? '') } }),
  }
}

function secondOf(time: string): number {
  const [hours = 0, minutes = 0, seconds = 0] = time.split(':').map(Number)
  return hours * 3600 + minutes * 60 + seconds
}

const columns = `p.id, p.model, p.source, p.effective_from, p.effective_from <= now() as in_force,
  p.input_nano_usd_per_million, p.cached_input_nano_usd_per_million, p.output_nano_usd_per_million, p.details, p.daily_from,
  p.daily_to, p.margin_basis_points`

const newestFirst = 'p.set_number desc, p.effective_from desc, p.daily_from is null, p.id desc'

/** Of each model of `models m`: the set that is charged by, and what begins later. In the order in which priceAt looks. */
export const pricesInForce = `select ${columns} from models m join lateral (
    select * from prices where model = m.name and set_number >= coalesce(
      (select max(set_number) from prices c where c.model = m.name and c.effective_from <= now()), 0)
  ) p on true`
export const inOrder = `order by m.name, ${newestFirst}`

/** Adds one set. The catalogue is locked by the caller. */
export async function insertPrices(
  tx: Queryable,
  model: string,
  drafts: readonly PriceDraft[],
  source: string,
): Promise<void> {
  const [{ number = 0 } = {}] = await tx.query<{ number: number }>(
    sql('select coalesce(max(set_number), 0) + 1 as number from prices where model = $1'),
    [model],
  )
  for (const draft of drafts) await insertRow(tx, model, draft, { source, number })
}

async function insertRow(
  tx: Queryable,
  model: string,
  draft: PriceDraft,
  { source, number }: { source: string; number: number },
): Promise<void> {
  const { input, cachedInput, output, details, startsAt = null, hours, marginBasisPoints = 0n } = draft
  const stored = details && JSON.stringify(writeDetails(details, amount => amount.toString()))
  await tx.query(
    sql(`insert into prices (model, source, set_number, effective_from, input_nano_usd_per_million,
           cached_input_nano_usd_per_million, output_nano_usd_per_million, details, daily_from, daily_to, margin_basis_points)
         values ($1, $2, $3, coalesce($4, now()), $5, $6, $7, $8, $9, $10, $11)`),
    [
      model,
      source,
      number,
      startsAt,
      input,
      cachedInput,
      output,
      stored ?? null,
      hours?.from ?? null,
      hours?.to ?? null,
      marginBasisPoints,
    ],
  )
}

/**
 * The set in force for a model of this name and what begins later, in the order in which priceAt looks. Prices outlive
 * models, and hold again when one comes back.
 */
export async function currentPrices(database: Queryable, model: string): Promise<PriceRow[]> {
  const text = pricesInForce.replace('from models m', 'from (select $1::text as name) m')
  return database.query<PriceRow>(sql(`${text} ${inOrder}`), [model])
}

/** Whether the model ever had a price from there. Prices stay when models go, so this remembers what was once built in. */
export async function wasPricedBy(database: Queryable, model: string, source: string): Promise<boolean> {
  const text = 'select from prices where model = $1 and source = $2 limit 1'
  return (await database.query(sql(text), [model, source])).length > 0
}

const page = (order: Order): string => `select * from (${pricesInForce}) p
  where $1::bigint is null or (p.model, p.id) ${order === 'asc' ? '>' : '<'} (select c.model, c.id from prices c where c.id = $1)
  order by p.model ${order}, p.id ${order} limit $2`

export async function listPrices(database: Queryable, request: PageRequest): Promise<Page<PriceRow>> {
  const after = request.after !== undefined && /^\d{1,18}$/.test(request.after) ? request.after : null
  return toPage(await database.query<PriceRow>(sql(page(request.order)), [after, rowsToRead(request)]), request)
}

export async function readPrices(database: Queryable, ids: readonly bigint[]): Promise<PriceRow[]> {
  return database.query<PriceRow>(sql(`select ${columns} from prices p where p.id = any ($1::bigint[])`), [ids])
}

// Margins, in hundredths of a percent -----------------------------------------------------------------------------------

export async function readMargin(database: Queryable): Promise<bigint> {
  const text = 'select price_margin_basis_points as margin from organizations where is_operator'
  return BigInt(only(await database.query<{ margin: number }>(sql(text))).margin)
}

export async function saveMargin(tx: Queryable, basisPoints: bigint): Promise<void> {
  await tx.query(sql('update organizations set price_margin_basis_points = $1 where is_operator'), [basisPoints])
}

/** The model's own, else the installation's. */
export async function marginOf(database: Queryable, model: string): Promise<bigint> {
  const text = `select coalesce((select price_margin_basis_points from models where name = $1), price_margin_basis_points)
      as margin from organizations where is_operator`
  return BigInt(only(await database.query<{ margin: number }>(sql(text), [model])).margin)
}

/** @param basisPoints null: the installation's again */
export async function saveModelMargin(tx: Queryable, model: string, basisPoints: bigint | null): Promise<void> {
  await tx.query(sql('update models set price_margin_basis_points = $2 where name = $1'), [model, basisPoints])
}

// What the table of known prices is asked about ---------------------------------------------------------------------------

export type RoutedModel = {
  name: string
  /** In the order of trying; those that are inside Keyhouse have no address. */
  routes: { provider: string; base_url: string | null; upstream_model: string }[]
}

export async function routedModels(database: Queryable): Promise<RoutedModel[]> {
  return database.query<RoutedModel>(
    sql(`select r.model as name, json_agg(json_build_object('provider', v.name, 'base_url', v.base_url,
           'upstream_model', r.upstream_model) order by r.position) as routes
         from model_routes r join providers v on v.id = r.provider_id group by r.model order by r.model`),
  )
}

export async function allPricesInForce(database: Queryable): Promise<PriceRow[]> {
  return database.query<PriceRow>(sql(`${pricesInForce} ${inOrder}`))
}

/** Of models that have one of their own. */
export async function modelMargins(database: Queryable): Promise<Map<string, bigint>> {
  const text =
    'select name, price_margin_basis_points as margin from models where price_margin_basis_points is not null'
  const rows = await database.query<{ name: string; margin: number }>(sql(text))
  return new Map(rows.map(({ name, margin }) => [name, BigInt(margin)]))
}
