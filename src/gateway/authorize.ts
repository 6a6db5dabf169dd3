/** Verb two. May this key use this endpoint and model, in this organization and project. Refuses with 401, 403, 404 or 400. */
import { apiError } from '#contract/errors.ts'
import type { ProjectId } from '#contract/ids.ts'
import type { Scope } from '#contract/scopes.ts'
import { keyPermitsModel, projectPermitsModel, requireScope } from '#core/access.ts'
import { findModel, type Model } from '#core/catalogue.ts'
import type { Grant } from '#core/grant.ts'
import { nanoUsd } from '#core/money.ts'
import { type Price, priceAt } from '#core/price.ts'
import type { CutSwitch } from './active-calls.ts'
import type { Call, RequestBody } from './call.ts'
import type { Ask, CallEndpoint, JsonObject } from './endpoints/ask.ts'
import type { Exchange, HeaderValue } from './exchange.ts'
import type { Gateway } from './gateway.ts'
import { hostedToolsIn } from './hosted-tools.ts'

export type ProjectGrant = Grant & { readonly projectId: ProjectId }

/** What holds for every endpoint of the gateway, before the body is read. */
export function authorizeKey(exchange: Exchange, grant: Grant, scope: Scope): ProjectGrant {
  requireProject(grant)
  const { headers } = exchange
  if (differs(headers['openai-organization'], grant.organizationId)) throw apiError('mismatched_organization')
  if (differs(headers['openai-project'], grant.projectId)) throw apiError('mismatched_project')
  requireScope(grant, scope)
  return grant
}

/** @throws ApiError for a key without a project, or of an archived one */
export function requireProject(grant: Grant): asserts grant is ProjectGrant {
  if (grant.projectId === null) throw apiError('admin_key_on_gateway')
  if (!grant.projectActive) throw apiError('project_archived', { project: grant.projectId })
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

/** At once, but for a model that this node does not know, or not yet. */
export function authorizeCall(gateway: Gateway, asked: Asked): Call | Promise<Call> {
  const { endpoint, grant, body } = asked
  const ask = endpoint.read(body.parsed, asked.pathModel)
  checkTools(grant, body.parsed)
  if (findModel(gateway.catalogue(), ask.model)) return callOf(gateway, asked, ask)
  return gateway.catchUp().then(() => callOf(gateway, asked, ask))
}

function callOf(gateway: Gateway, asked: Asked, ask: Ask): Call {
  const { endpoint, grant, body, exchange, cutSwitch } = asked
  const model = visibleModel(gateway, grant, ask.model)
  if (!endpoint.kinds.includes(model.kind)) {
    throw apiError('wrong_model_kind', {
      model: ask.model,
      endpoint: `/v1${endpoint.upstream}`,
      use: endpoint.otherKinds,
    })
  }
  const beganAtMs = gateway.wallClock()
  return {
    exchange,
    beganAtMs,
    endpoint,
    grant,
    model,
    price: priceOf(gateway, model, beganAtMs),
    ask,
    body,
    cutSwitch,
  }
}

function checkTools({ disabledTools, projectId }: ProjectGrant, body: JsonObject): void {
  if (disabledTools.length === 0) return
  const tool = hostedToolsIn(body).find(named => disabledTools.includes(named))
  if (tool) throw apiError('hosted_tool_disabled', { project: projectId, tool })
}

export const isPermitted = (grant: Grant, model: Model): boolean =>
  keyPermitsModel(grant, model.name) && permittedInProject(grant, model)

/** The project's list of models is about real ones: a test key cannot spend anything. */
const permittedInProject = (grant: Grant, model: Model): boolean =>
  isTestModel(model) || projectPermitsModel(grant, model.name)

/** @throws ApiError which says whose list it is that does not have the model */
export function requireModel(grant: Grant, model: Model): void {
  const { redacted, projectId } = grant
  const { name } = model
  if (!keyPermitsModel(grant, name)) throw apiError('model_not_permitted_for_key', { redacted, model: name })
  if (!permittedInProject(grant, model)) {
    throw apiError('model_not_permitted', { project: projectId ?? '', model: name })
  }
}

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
  requireModel(grant, model)
  return model
}

const freePrice: Price = {
  id: '',
  inputNanoUsdPerMillion: nanoUsd(0n),
  cachedInputNanoUsdPerMillion: nanoUsd(0n),
  outputNanoUsdPerMillion: nanoUsd(0n),
}

function priceOf(gateway: Gateway, model: Model, nowMs: number): Price {
  if (isTestModel(model)) return freePrice
  const price = priceAt(model.prices, nowMs)
  if (price) return price
  if (gateway.settings.unpricedModels === 'free') return freePrice
  throw apiError('model_price_missing', { model: model.name })
}
