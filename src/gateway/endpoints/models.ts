/** GET /v1/models and /v1/engines: what the asking key can call, under the models' own names and their aliases. */
import { apiError } from '#contract/errors.ts'
import { findModel, type Model } from '#core/catalogue.ts'
import type { Grant } from '#core/grant.ts'
import { authenticate } from '../authenticate.ts'
import { authorizeKey, isPermitted, mayUse } from '../authorize.ts'
import type { Exchange } from '../exchange.ts'
import type { Gateway } from '../gateway.ts'

export type ModelsShape = 'model' | 'engine'

export async function listModels(gateway: Gateway, exchange: Exchange, shape: ModelsShape): Promise<void> {
  const grant = authorizeKey(exchange, await authenticate(gateway, exchange), 'api.model.read')
  const { models, aliases } = gateway.catalogue()
  const names = [...models.keys(), ...aliases.keys()].sort()
  const data = names.flatMap(name => {
    const model = visible(gateway, grant, name)
    return model ? [shapes[shape](name, model)] : []
  })
  reply(exchange, { object: 'list', data })
}

export async function getModel(gateway: Gateway, exchange: Exchange, shape: ModelsShape, name: string): Promise<void> {
  const grant = authorizeKey(exchange, await authenticate(gateway, exchange), 'api.model.read')
  if (!findModel(gateway.catalogue(), name)) await gateway.catchUp()
  const model = visible(gateway, grant, name)
  if (!model) throw apiError('model_not_found', { model: name })
  reply(exchange, shapes[shape](name, model))
}

function visible(gateway: Gateway, grant: Grant, name: string): Model | undefined {
  const model = findModel(gateway.catalogue(), name)
  return model && mayUse(gateway, grant, model) && isPermitted(grant, model) ? model : undefined
}

const shapes = {
  model: (id: string, { createdAt, ownedBy }: Model) => ({
    id,
    object: 'model',
    created: createdAt,
    owned_by: ownedBy,
  }),
  engine: (id: string, { ownedBy }: Model) => ({ id, object: 'engine', owner: ownedBy, ready: true }),
} satisfies Record<ModelsShape, (id: string, model: Model) => object>

function reply(exchange: Exchange, body: object): void {
  exchange.start(200, { 'content-type': 'application/json' })
  exchange.end(JSON.stringify(body))
}
