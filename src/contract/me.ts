/** What a key is and may do, for whoever holds it and wonders why a call is refused. Costs nothing. */
import { z } from 'zod'
import { type Endpoints, unixTime } from './endpoint.ts'
import { permissionLevels } from './key-settings.ts'

const named = z.object({ id: z.string(), name: z.string() })

export const me = {
  retrieve: {
    method: 'GET',
    path: '/v1/me',
    summary: 'Tell what the key of this request is and may do. Any living key may ask.',
    scope: null,
    caller: 'any',
    answer: z
      .object({
        object: z.literal('key'),
        id: z.string(),
        kind: z.enum(['project', 'service_account', 'admin', 'test']),
        redacted_value: z.string(),
        organization: named,
        project: named.nullable().describe('Null: an admin key.'),
        owner: named
          .extend({ type: z.enum(['user', 'service_account']), email: z.string().nullable() })
          .nullable()
          .describe('Null: a key that a machine made for itself.'),
        permissions: z.enum(permissionLevels),
        scopes: z.array(z.string()).describe("The key's own. Empty: All."),
        effective_scopes: z.array(z.string()).describe("What the key's scopes and its owner's roles both allow."),
        expires_at: unixTime.nullable(),
        client_address: z.string().describe('From where this request came, as address lists see it.'),
        restrictions: z.array(
          z.object({
            where: z.enum(['key', 'project', 'organization']),
            allowed_cidrs: z.array(z.string()),
            allowed_origins: z.array(z.string()),
          }),
        ),
        client_certificate_required: z.boolean(),
        model_permissions: z
          .object({ mode: z.enum(['allow_list', 'deny_list']), model_ids: z.array(z.string()) })
          .nullable()
          .describe('Null: every model.'),
        rate_limits: z
          .array(
            z.object({
              model: z.string().describe('*: every model that is not named.'),
              max_requests_per_1_minute: z.int(),
              max_tokens_per_1_minute: z.int(),
            }),
          )
          .describe("The tighter of the project's and the organization's."),
        credit_available: z.boolean(),
      })
      .meta({ id: 'Me' }),
  },
} as const satisfies Endpoints
