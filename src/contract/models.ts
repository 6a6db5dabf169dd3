/** The catalogue: models, what they cost, who serves them and by which other names they are called. */
import { z } from 'zod'
import { usdInput, usdText } from './amounts.ts'
import { type Endpoints, unixTime } from './endpoint.ts'
import { listOf, listQuery } from './lists.ts'
import { percentText, priceDetails, priceDetailsInput } from './prices.ts'

/** Names that begin so belong to the built-in test models. */
export const testModelPrefix = 'keyhouse-test-'

export const modelName = z
  .string()
  .regex(/^[^\s\p{C}]{1,200}$/u, 'expected up to 200 characters without spaces')
  .describe('As callers write it in `model`.')

export const modelKind = z.enum(['chat', 'completion', 'embedding'])
const tokensMax = z.int().min(1).max(100_000_000)

/** What a model can be created with, wherever that is. */
export const modelShape = {
  kind: modelKind.optional(),
  context_tokens_max: tokensMax.optional(),
  output_tokens_max: tokensMax.optional(),
}

export const model = z
  .object({
    object: z.literal('platform.model'),
    name: z.string(),
    kind: modelKind,
    owned_by: z.string(),
    context_tokens_max: z.int().nullable(),
    output_tokens_max: z.int().nullable(),
    price: z
      .object({
        input_usd_per_million: usdText,
        cached_input_usd_per_million: usdText,
        output_usd_per_million: usdText,
        ...priceDetails(usdText).shape,
        effective_from: unixTime,
        margin_percent: percentText,
        source: z.string(),
      })
      .nullable()
      .describe('Null: calls are refused until the model is priced.'),
    routes: z.array(z.object({ provider: z.string(), upstream_model: z.string() })).describe('In the order of trying.'),
    aliases: z.array(z.string()),
    local: z
      .object({
        status: z.enum(['absent', 'downloading', 'ready', 'failed']),
        percent: z.number(),
        bytes: z.number(),
        label: z.string(),
        reason: z.string().nullable(),
      })
      .nullable()
      .describe('Of models that run inside Keyhouse.'),
  })
  .meta({ id: 'Model' })

export const modelAlias = z
  .object({ object: z.literal('platform.model_alias'), alias: z.string(), model: z.string() })
  .meta({ id: 'ModelAlias' })

const gone = z.object({ object: z.literal('platform.model.deleted'), name: z.string(), deleted: z.literal(true) })
const routesMax = 16

export const models = {
  list: {
    method: 'GET',
    path: '/v1/platform/models',
    summary: 'List models with their prices, routes and aliases, by name.',
    scope: 'api.platform.read',
    operatorOnly: true,
    query: listQuery,
    answer: listOf(model),
  },
  set: {
    method: 'POST',
    path: '/v1/platform/models/{name}',
    summary: 'Create a model, or change who serves it and in which order.',
    scope: 'api.platform.write',
    operatorOnly: true,
    body: z.strictObject({
      ...modelShape,
      routes: z
        .array(z.strictObject({ provider: z.string().min(1), upstream_model: modelName.optional() }))
        .min(1)
        .max(routesMax),
    }),
    answer: model,
  },
  delete: {
    method: 'DELETE',
    path: '/v1/platform/models/{name}',
    summary: 'Remove a model, its routes and its aliases. What was used stays on record.',
    scope: 'api.platform.write',
    operatorOnly: true,
    answer: gone,
  },
  price: {
    method: 'POST',
    path: '/v1/platform/models/{name}/price',
    summary: 'Set what a model costs from now on, or from a later day. Earlier prices stay on record.',
    scope: 'api.platform.write',
    operatorOnly: true,
    body: z.strictObject({
      input_usd_per_million: usdInput
        .optional()
        .describe('Left out, with all others: the known price, with the margin.'),
      output_usd_per_million: usdInput.optional(),
      cached_input_usd_per_million: usdInput.optional().describe('Left out: as fresh input.'),
      ...priceDetailsInput.shape,
      margin_percent: percentText
        .nullable()
        .optional()
        .describe("On top of the known price of this model, from now on. Null: the installation's."),
      effective_from: unixTime.min(0).optional().describe('Left out: now.'),
    }),
    answer: model,
  },
  pull: {
    method: 'POST',
    path: '/v1/platform/models/{name}/pull',
    summary: 'Fetch the weights of a model that runs inside Keyhouse. Goes on when the connection closes.',
    scope: 'api.platform.write',
    operatorOnly: true,
    body: z
      .strictObject({
        from_url: z.url({ protocol: /^https?$/ }).optional(),
        from_file: z.string().min(1).max(4_096).optional().describe('A path on the server.'),
        sha256: z
          .string()
          .regex(/^[0-9a-f]{64}$/i, 'expected 64 hexadecimal digits')
          .optional(),
      })
      .optional(),
    answer: {
      contentType: 'application/x-ndjson',
      about:
        'Lines of {"status":"downloading","part","bytes_done","bytes_total","percent"}; the last one is ' +
        '{"status":"ready"} or {"status":"failed","reason"}.',
    },
  },
} as const satisfies Endpoints

export const modelAliases = {
  list: {
    method: 'GET',
    path: '/v1/platform/model_aliases',
    summary: 'List model aliases, by alias.',
    scope: 'api.platform.read',
    operatorOnly: true,
    query: listQuery,
    answer: listOf(modelAlias),
  },
  set: {
    method: 'POST',
    path: '/v1/platform/model_aliases',
    summary: 'Let a model be called by another name.',
    scope: 'api.platform.write',
    operatorOnly: true,
    body: z.strictObject({ alias: modelName, model: modelName }),
    answer: modelAlias,
  },
  delete: {
    method: 'DELETE',
    path: '/v1/platform/model_aliases/{alias}',
    summary: 'Remove a model alias.',
    scope: 'api.platform.write',
    operatorOnly: true,
    answer: z.object({
      object: z.literal('platform.model_alias.deleted'),
      alias: z.string(),
      deleted: z.literal(true),
    }),
  },
} as const satisfies Endpoints
