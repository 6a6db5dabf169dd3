/** Providers: where models are reached, and the credential they are reached with. */
import { z } from 'zod'
import { usdInput } from './amounts.ts'
import { type Endpoints, unixTime } from './endpoint.ts'
import { deleted, listOf, listQuery } from './lists.ts'
import { modelName, modelShape } from './models.ts'

export const provider = z
  .object({
    object: z.literal('platform.provider'),
    id: z.string(),
    name: z.string(),
    adapter: z.string(),
    base_url: z.string().nullable(),
    credential_hint: z.string().nullable().describe('The end of the credential, which is never shown.'),
    models: z.array(z.string()),
    unpriced_models: z.array(z.string()).describe('Refused with model_price_missing until they are priced.'),
    created_at: unixTime,
  })
  .meta({ id: 'Provider' })

const providerModel = z.strictObject({
  name: modelName,
  upstream_model: modelName.optional().describe('Its name at the provider. Left out: the same.'),
  ...modelShape,
  input_usd_per_million: usdInput.optional(),
  cached_input_usd_per_million: usdInput.optional(),
  output_usd_per_million: usdInput.optional(),
})
export type ProviderModelInput = z.output<typeof providerModel>

export const providerModelsMax = 1_000

export const providers = {
  list: {
    method: 'GET',
    path: '/v1/platform/providers',
    summary: 'List providers.',
    scope: 'api.platform.read',
    operatorOnly: true,
    query: listQuery,
    answer: listOf(provider),
  },
  create: {
    method: 'POST',
    path: '/v1/platform/providers',
    summary: 'Add a provider, or change the one of that name: its address, its credential, its models.',
    scope: 'api.platform.write',
    operatorOnly: true,
    body: z.strictObject({
      name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, 'expected up to 63 of a-z, 0-9, dot, dash and underscore'),
      adapter: z.literal('openai-compatible').optional(),
      base_url: z.string().max(2_000).optional().describe('Up to and with the version, as in https://host/v1.'),
      api_key: z
        .string()
        .regex(/^[\x21-\x7e]{1,4096}$/, 'expected printable characters without spaces')
        .optional(),
      models: z.array(providerModel).max(providerModelsMax).optional(),
      discover: z.boolean().optional().describe('Ask the provider for its models. Default: when `models` is left out.'),
      free: z.boolean().optional().describe('Models that are not priced here cost nothing.'),
    }),
    answer: provider,
  },
  retrieve: {
    method: 'GET',
    path: '/v1/platform/providers/{provider}',
    summary: 'Retrieve a provider by id or name.',
    scope: 'api.platform.read',
    operatorOnly: true,
    answer: provider,
  },
  delete: {
    method: 'DELETE',
    path: '/v1/platform/providers/{provider}',
    summary: 'Remove a provider, its credential, and the models that nobody else serves.',
    scope: 'api.platform.write',
    operatorOnly: true,
    answer: deleted('platform.provider.deleted'),
  },
} as const satisfies Endpoints
