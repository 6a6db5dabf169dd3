/** Models: who serves them, what they cost, and the weights of those that run here. */
import { apiError } from '#contract/errors.ts'
import { type models, testModelPrefix } from '#contract/models.ts'
import { formatPercent } from '#core/percent.ts'
import type { Queryable } from '#storage/database.ts'
import {
  deleteModel,
  findAlias,
  listModels,
  type ModelRow,
  type Route,
  setRoutes,
  upsertModel,
} from '#storage/models.ts'
import { findProvider } from '#storage/providers.ts'
import { changeCatalogue } from './catalogue-change.ts'
import { existingModel, noSuchModel } from './existing-model.ts'
import type { Call, Handlers } from './handler.ts'
import type { LocalModel, LocalModels } from './local-models.ts'
import { toList, unixSeconds } from './page.ts'
import { toRates } from './prices.ts'
import { pullModel } from './pull-model.ts'
import { setPrice } from './set-price.ts'

export const modelHandlers: Handlers<typeof models> = {
  async list({ database, localModels }, { query }) {
    const page = await listModels(database, query)
    const local = await localByName(localModels)
    return toList(
      page,
      row => toModel(row, local),
      row => row.name,
    )
  },

  async set(parts, call) {
    const { params, body } = call
    const { name } = params
    checkName(name)
    const row = await changeCatalogue(parts, call, async tx => {
      if (await findAlias(tx, name)) throw nameTaken(name)
      const routes = await routesOf(tx, name, body.routes)
      await upsertModel(tx, {
        name,
        kind: body.kind,
        ownedBy: body.routes[0]?.provider ?? '',
        contextTokensMax: body.context_tokens_max,
        outputTokensMax: body.output_tokens_max,
      })
      await setRoutes(tx, name, routes)
      return { answer: await existingModel(tx, name), requested: { model: { name, ...body } } }
    })
    return toModel(row, await localByName(parts.localModels))
  },

  async delete(parts, call) {
    const { name } = call.params
    return changeCatalogue(parts, call, async tx => {
      if (!(await deleteModel(tx, name))) throw noSuchModel(name)
      return {
        answer: { object: 'platform.model.deleted' as const, name, deleted: true as const },
        requested: { model: { name, deleted: true } },
      }
    })
  },

  async price(parts, call) {
    const { params, body } = call
    const { name } = params
    const row = await changeCatalogue(parts, call, async tx => {
      await existingModel(tx, name)
      await setPrice(tx, name, body, new Date(parts.wallClock()))
      return { answer: await existingModel(tx, name), requested: { model_price: { model: name, ...body } } }
    })
    return toModel(row, await localByName(parts.localModels))
  },

  async pull(parts, call) {
    return pullModel(parts, call)
  },
}

function checkName(name: string): void {
  const isName = /^[^\s\p{C}]{1,200}$/u.test(name)
  if (isName && !name.startsWith(testModelPrefix)) return
  const message = isName
    ? `Names that begin with ${testModelPrefix} belong to the test models.`
    : 'A model name has up to 200 characters and no spaces.'
  throw apiError('invalid_parameter', { param: 'name', message, code: 'invalid_value' })
}

type RoutesBody = Call<typeof models.set>['body']['routes']

async function routesOf(tx: Queryable, model: string, given: RoutesBody): Promise<Route[]> {
  const routes: Route[] = []
  for (const [index, { provider, upstream_model: upstreamModel = model }] of given.entries()) {
    const row = await findProvider(tx, provider)
    if (!row) throw noSuchProvider(`routes[${index}].provider`, provider)
    routes.push({ providerId: row.id, upstreamModel })
  }
  return routes
}

const noSuchProvider = (param: string, provider: string): Error =>
  apiError('invalid_parameter', {
    param,
    message: `Invalid '${param}': there is no provider \`${provider}\`. GET /v1/platform/providers lists them.`,
    code: 'invalid_value',
  })

const nameTaken = (name: string): Error =>
  apiError('conflict', { message: `\`${name}\` is an alias of another model. Remove the alias first.` })

type LocalByName = ReadonlyMap<string, LocalModel>

const localByName = async (localModels: LocalModels): Promise<LocalByName> =>
  new Map((await localModels.list()).map(model => [model.name, model]))

const toModel = (row: ModelRow, local: LocalByName) => ({
  object: 'platform.model' as const,
  name: row.name,
  kind: row.kind,
  owned_by: row.owned_by,
  context_tokens_max: row.context_tokens_max,
  output_tokens_max: row.output_tokens_max,
  price: toPrice(row),
  routes: row.routes,
  aliases: row.aliases,
  local: toLocal(local.get(row.name)),
})

/** The columns of a left join: all of them are there, or none is. */
function toPrice(row: ModelRow) {
  if (row.effective_from === null) return null
  return {
    ...toRates({
      id: row.price_id ?? 0n,
      model: row.name,
      details: row.price_details,
      input_nano_usd_per_million: row.input_nano_usd_per_million ?? 0n,
      cached_input_nano_usd_per_million: row.cached_input_nano_usd_per_million ?? 0n,
      output_nano_usd_per_million: row.output_nano_usd_per_million ?? 0n,
    }),
    effective_from: unixSeconds(row.effective_from),
    margin_percent: formatPercent(BigInt(row.margin_basis_points ?? 0)),
    source: row.source ?? '',
  }
}

function toLocal(model: LocalModel | undefined) {
  if (!model) return null
  const { status, percent = status === 'ready' ? 100 : 0, reason = null } = model.state
  return { status, percent, bytes: model.bytes, label: model.label, reason }
}
