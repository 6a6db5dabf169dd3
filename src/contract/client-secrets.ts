/** Client secrets: short-lived keys that a server mints for a browser, so that no long-lived key is in client-side code. */
import { z } from 'zod'
import { type Endpoints, unixTime } from './endpoint.ts'
import { allowedCidrs, allowedModels, allowedOrigins, keyScopes } from './key-settings.ts'

const lifetimeSecondsMin = 10
const lifetimeSecondsMax = 7_200
const lifetimeSecondsDefault = 600

export const clientSecrets = {
  create: {
    method: 'POST',
    path: '/v1/client_secrets',
    summary: 'Mint a short-lived key, with the key of a project. It dies with the key that minted it.',
    scope: 'api.client_secrets.write',
    caller: 'project',
    body: z
      .strictObject({
        expires_in_seconds: z.int().min(lifetimeSecondsMin).max(lifetimeSecondsMax).default(lifetimeSecondsDefault),
        scopes: keyScopes.min(1).optional().describe('Left out: to call models, as far as the minting key may.'),
        allowed_cidrs: allowedCidrs.optional(),
        allowed_origins: allowedOrigins.optional().describe("Left out: the minting key's."),
        allowed_models: allowedModels.optional().describe("Left out: the minting key's. An alias is refused."),
      })
      .prefault({}),
    answer: z
      .object({
        object: z.literal('client_secret'),
        id: z.string(),
        value: z.string(),
        created_at: unixTime,
        expires_at: unixTime,
        scopes: z.array(z.string()),
        allowed_cidrs: z.array(z.string()),
        allowed_origins: z.array(z.string()),
        allowed_models: z.array(z.string()),
      })
      .meta({ id: 'ClientSecret' }),
  },
} as const satisfies Endpoints
