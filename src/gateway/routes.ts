/** The gateway's endpoints, one row each. */
import { chatCompletions } from './endpoints/chat-completions.ts'
import { completions } from './endpoints/completions.ts'
import { embeddings } from './endpoints/embeddings.ts'
import { getModel, listModels } from './endpoints/models.ts'
import type { Exchange } from './exchange.ts'
import type { Gateway } from './gateway.ts'
import { handle } from './handle.ts'

export type GatewayRoute = {
  readonly method: 'GET' | 'POST'
  /** At most one `{parameter}`, which may hold slashes where it comes last, as model names do. */
  readonly path: string
  run(gateway: Gateway, exchange: Exchange, parameter: string): Promise<void>
}

export const gatewayRoutes: readonly GatewayRoute[] = [
  {
    method: 'POST',
    path: '/v1/chat/completions',
    run: (gateway, exchange) => handle(gateway, exchange, chatCompletions, null),
  },
  { method: 'POST', path: '/v1/completions', run: (gateway, exchange) => handle(gateway, exchange, completions, null) },
  { method: 'POST', path: '/v1/embeddings', run: (gateway, exchange) => handle(gateway, exchange, embeddings, null) },
  { method: 'GET', path: '/v1/models', run: (gateway, exchange) => listModels(gateway, exchange, 'model') },
  {
    method: 'GET',
    path: '/v1/models/{model}',
    run: (gateway, exchange, name) => getModel(gateway, exchange, 'model', name),
  },
  // Gone from OpenAI's documents, alive in old clients: the model stands in the path
  { method: 'GET', path: '/v1/engines', run: (gateway, exchange) => listModels(gateway, exchange, 'engine') },
  {
    method: 'GET',
    path: '/v1/engines/{engine}',
    run: (gateway, exchange, name) => getModel(gateway, exchange, 'engine', name),
  },
  {
    method: 'POST',
    path: '/v1/engines/{engine}/completions',
    run: (gateway, exchange, name) => handle(gateway, exchange, completions, name),
  },
  {
    method: 'POST',
    path: '/v1/engines/{engine}/chat/completions',
    run: (gateway, exchange, name) => handle(gateway, exchange, chatCompletions, name),
  },
  {
    method: 'POST',
    path: '/v1/engines/{engine}/embeddings',
    run: (gateway, exchange, name) => handle(gateway, exchange, embeddings, name),
  },
]
