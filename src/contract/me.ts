/** What a key is and may do, for whoever holds it and wonders why a call is refused. Costs nothing. */
import { z } from 'zod'
import { usdText } from './amounts.ts'
import { type Endpoints, unixTime } from './endpoint.ts'
import { budgetPeriod } from './key-budgets.ts'
import { permissionLevels } from './key-settings.ts'
import { rarerLimits } from './rate-limits.ts'

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
          .describe('Null: a key that a machine made for itself, or a client secret.'),
        permissions: z.enum(permissionLevels),
        scopes: z.array(z.string()).describe("The key's own. Empty: All."),
        effective_scopes: z.array(z.string()).describe("What the key's scopes and its owner's roles both allow."),
        expires_at: unixTime.nullable(),
        client_address: z.string().describe('From where this request came, as address lists see it.'),
        restrictions: z
          .array(
            z.object({
              where: z.enum(['key', 'project', 'organization']),
              allowed_cidrs: z.array(z.string()),
              allowed_origins: z.array(z.string()),
            }),
          )
          .describe('Of a client secret only its own.'),
        client_certificate_required: z.boolean(),
        model_permissions: z
          .object({ mode: z.enum(['allow_list', 'deny_list']), model_ids: z.array(z.string()) })
          .nullable()
          .describe('Of the project. Null: every model.'),
        allowed_models: z.array(z.string()).describe("The key's own. Empty: all that the project may call."),
        rate_limits: z
          .array(
            z.object({
              model: z.string().describe('*: every model that is not named.'),
              max_requests_per_1_minute: z.int(),
              max_tokens_per_1_minute: z.int(),
              ...rarerLimits,
            }),
          )
          .describe("The tightest of the key's, the project's and the organization's."),
        billing_active: z.boolean().describe('False: the organization never had credit, or none that was not revoked.'),
        credit_available: z.boolean(),
        spend_limits: z
          .array(
            z.object({
              where: z.enum(['key', 'project', 'organization']),
              period: budgetPeriod,
              limit_usd: usdText,
              spent_usd: usdText,
              reached: z.boolean(),
              resets_at: unixTime.nullable().describe('Null: never.'),
            }),
          )
          .describe(
            "The key's budget and the spend limits of its project and organization, those that are set. To a client secret: none.",
          ),
      })
      .meta({ id: 'Me' }),
  },
} as const satisfies Endpoints
