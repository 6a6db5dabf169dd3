/** Verb two. May this key use this endpoint and model, in this organization and project. Refuses with 401, 403, 404 or 400. */
import { apiError } from '#contract/errors.ts'
import type { ProjectId } from '#contract/ids.ts'
import type { Scope } from '#contract/scopes.ts'
import { permitsModel, requireScope } from '#core/access.ts'
import { findModel, type Model } from '#core/catalogue.ts'
import type { Grant } from '#core/grant.ts'
import { nanoUsd } from '#core/money.ts'
import type { Price } from '#core/pricing.ts'
import type { CutSwitch } from './active-calls.ts'
import type { Call, RequestBody } from './call.ts'
import type { CallEndpoint, JsonObject } from './endpoints/ask.ts'
import type { Exchange, HeaderValue } from './exchange.ts'
import type { Gateway } from './gateway.ts'

export type ProjectGrant = Grant & { readonly projectId: ProjectId }

/** What holds for every endpoint of the gateway, before the body is read. */
export function authorizeKey(exchange: Exchange, grant: Grant, scope: Scope): ProjectGrant {
  if (grant.projectId === null) throw apiError('admin_key_on_gateway')
  if (!grant.projectActive) throw apiError('project_archived', { project: grant.projectId })
  const { headers } = exchange
  if (differs(headers['openai-organization'], grant.organizationId)) throw apiError('mismatched_organization')
  if (differs(headers['openai-project'], grant.projectId)) throw apiError('mismatched_project')
  requireScope(grant, scope)
  // Checked above: an admin key is the only one without a project.
  return grant as ProjectGrant
}

const differs = (header: HeaderValue, own: string): boolean => header !== undefined && header !== '' && header !== own

export type Asked = {
  readonly exchange: Exchange
  readonly endpoint: CallEndpoint
  readonly grant: ProjectGrant
  readonly body: RequestBody
  /** The model, where the path names it. */
  readonly pathModel: string | null
  readonly cutSwitch: CutSwitch
}

export function authorizeCall(gateway: Gateway, asked: Asked): Call {
  const { endpoint, grant, body, exchange, cutSwitch } = asked
  const ask = endpoint.read(body.parsed, asked.pathModel)
  checkTools(grant, body.parsed)
  const model = visibleModel(gateway, grant, ask.model)
  if (!endpoint.kinds.includes(model.kind)) {
    throw apiError('wrong_model_kind', {
      model: ask.model,
      endpoint: `/v1${endpoint.upstream}`,
      use: endpoint.otherKinds,
    })
  }
  return { exchange, endpoint, grant, model, price: priceOf(gateway, model), ask, body, cutSwitch }
}

/** Tools that the provider runs itself, under their own names or a dated one such as `web_search_preview`. */
function checkTools({ disabledTools, projectId }: ProjectGrant, { tools, web_search_options }: JsonObject): void {
  if (disabledTools.length === 0) return
  const named = Array.isArray(tools) ? tools.map(tool => String(tool?.type)) : []
  if (web_search_options !== undefined) named.push('web_search')
  for (const tool of disabledTools) {
    if (named.some(type => type === tool || type.startsWith(`${tool}_`))) {
      throw apiError('hosted_tool_disabled', { project: projectId, tool })
    }
  }
}

/** The project's list of models is about real ones: a test key cannot spend anything. */
export const isPermitted = (grant: Grant, model: Model): boolean =>
  isTestModel(model) || permitsModel(grant, model.name)

/** Test keys see the test models and nothing else; the test models are shown to others only where the operator says so. */
export function mayUse(gateway: Gateway, grant: Grant, model: Model): boolean {
  return isTestModel(model) ? grant.kind === 'test' || gateway.settings.testModelsForAll : grant.kind !== 'test'
}

const isTestModel = (model: Model): boolean =>
  model.targets.length > 0 && model.targets.every(({ adapter }) => adapter === 'fake')

function visibleModel(gateway: Gateway, grant: ProjectGrant, name: string): Model {
  const model = findModel(gateway.catalogue(), name)
  if (!model || !mayUse(gateway, grant, model)) {
    if (model && grant.kind === 'test') throw apiError('test_key_live_model', { model: name })
    throw apiError('model_not_found', { model: name })
  }
  if (!isPermitted(grant, model)) throw apiError('model_not_permitted', { project: grant.projectId, model: name })
  return model
}

const freePrice = {
  inputNanoUsdPerMillion: nanoUsd(0n),
  cachedInputNanoUsdPerMillion: nanoUsd(0n),
  outputNanoUsdPerMillion: nanoUsd(0n),
}

function priceOf(gateway: Gateway, model: Model): Price {
  if (isTestModel(model)) return { id: '', ...freePrice }
  if (model.price) return model.price
  if (gateway.settings.unpricedModels === 'free') return { id: '', ...freePrice }
  throw apiError('model_price_missing', { model: model.name })
}
