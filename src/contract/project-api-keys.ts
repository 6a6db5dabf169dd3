/** API keys of a project: they call models. OpenAI lets only its dashboard create them; here the API does. */
import { z } from 'zod'
import { type Endpoints, emptyBody, expiresInSeconds, givenName, unixTime } from './endpoint.ts'
import { budgetInput } from './key-budgets.ts'
import { keySettings } from './key-settings.ts'
import { deleted, listOf, listQuery } from './lists.ts'

const owner = z.object({ id: z.string(), name: z.string(), created_at: unixTime, role: z.string() })

export const projectApiKey = z
  .object({
    object: z.literal('organization.project.api_key'),
    id: z.string(),
    name: z.string(),
    redacted_value: z.string(),
    created_at: unixTime,
    expires_at: unixTime.nullable(),
    last_used_at: unixTime.nullable(),
    kind: z.enum(['project', 'service_account', 'test']),
    status: z.enum(['active', 'disabled', 'asleep', 'expired']),
    scopes: z.array(z.string()).describe('What the key may do. Empty: everything that a project key can.'),
    allowed_cidrs: z.array(z.string()),
    allowed_origins: z.array(z.string()),
    allowed_models: z.array(z.string()).describe('Empty: every model that the project may call.'),
    backup_of: z.string().nullable().describe('The key that this one sleeps behind until that one is revoked.'),
    rotated_from: z.string().nullable().describe('The key that this one replaces.'),
    rotated_to: z.string().nullable().describe('The key that replaces this one; both work until this one expires.'),
    minted_by: z.string().nullable().describe('Of a client secret: the key that it was minted with.'),
    rotate_every_days: z.int().nullable(),
    rotate_next_at: unixTime.nullable(),
    rotation_due: z.boolean(),
    owner_project_access: z.enum(['active', 'inactive']),
    owner: z.object({
      type: z.enum(['user', 'service_account']),
      user: owner.extend({ email: z.string() }).optional(),
      service_account: owner.optional(),
    }),
  })
  .meta({ id: 'ProjectApiKey' })

const revealed = projectApiKey.extend({ value: z.string() }).meta({ id: 'ProjectApiKeyCreated' })

const graceSecondsMax = 604_800
const graceSecondsDefault = 86_400

export const projectApiKeys = {
  list: {
    method: 'GET',
    path: '/v1/organization/projects/{project_id}/api_keys',
    summary: "List a project's API keys, without its client secrets.",
    scope: 'api.organization.projects.api_keys.read',
    query: listQuery.extend({ owner_project_access: z.enum(['active', 'inactive', 'any']).default('any') }),
    answer: listOf(projectApiKey),
  },
  create: {
    method: 'POST',
    path: '/v1/organization/projects/{project_id}/api_keys',
    summary: 'Create an API key in a project and reveal its secret, once.',
    scope: 'api.organization.projects.api_keys.write',
    body: z.strictObject({
      name: givenName,
      ...keySettings,
      expires_in_seconds: expiresInSeconds.optional(),
      test: z.boolean().optional().describe('A key that reaches the deterministic test models and nothing else.'),
      backup_of: z.string().max(100).optional().describe('Sleeps until that key of the same project is revoked.'),
      budget: budgetInput.optional().describe('Not with backup_of: a backup key spends the budget of its key.'),
    }),
    answer: revealed,
  },
  retrieve: {
    method: 'GET',
    path: '/v1/organization/projects/{project_id}/api_keys/{key_id}',
    summary: 'Retrieve an API key of a project.',
    scope: 'api.organization.projects.api_keys.read',
    answer: projectApiKey,
  },
  update: {
    method: 'POST',
    path: '/v1/organization/projects/{project_id}/api_keys/{key_id}',
    summary: 'Change what an API key may do, from where, and until when. Its client secrets end with that.',
    scope: 'api.organization.projects.api_keys.write',
    body: z.strictObject({
      name: givenName.optional(),
      ...keySettings,
      expires_in_seconds: expiresInSeconds.optional(),
    }),
    answer: projectApiKey,
  },
  rotate: {
    method: 'POST',
    path: '/v1/organization/projects/{project_id}/api_keys/{key_id}/rotate',
    summary: 'Replace an API key by one with the same settings and budget; both work during the grace.',
    scope: 'api.organization.projects.api_keys.write',
    body: z
      .strictObject({
        grace_seconds: z.int().min(0).max(graceSecondsMax).default(graceSecondsDefault),
        expires_in_seconds: expiresInSeconds
          .optional()
          .describe('Left out: the new key expires when the old one would.'),
      })
      .prefault({}),
    answer: revealed
      .extend({
        replaced: z.object({ id: z.string(), expires_at: unixTime, last_used_at: unixTime.nullable() }),
      })
      .meta({ id: 'ProjectApiKeyRotated' }),
  },
  backup: {
    method: 'POST',
    path: '/v1/organization/projects/{project_id}/api_keys/{key_id}/backup',
    summary: 'Create a second key of the same settings, which begins to work when the first is revoked.',
    scope: 'api.organization.projects.api_keys.write',
    body: emptyBody,
    answer: revealed,
  },
  disable: {
    method: 'POST',
    path: '/v1/organization/projects/{project_id}/api_keys/{key_id}/disable',
    summary: 'Refuse an API key, everywhere within a second, until it is enabled again.',
    scope: 'api.organization.projects.api_keys.write',
    body: emptyBody,
    answer: projectApiKey,
  },
  enable: {
    method: 'POST',
    path: '/v1/organization/projects/{project_id}/api_keys/{key_id}/enable',
    summary: 'Let a disabled API key work again.',
    scope: 'api.organization.projects.api_keys.write',
    body: emptyBody,
    answer: projectApiKey,
  },
  delete: {
    method: 'DELETE',
    path: '/v1/organization/projects/{project_id}/api_keys/{key_id}',
    summary: 'Revoke an API key, everywhere within a second. Its backup key wakes.',
    scope: 'api.organization.projects.api_keys.write',
    answer: deleted('organization.project.api_key.deleted'),
  },
} as const satisfies Endpoints
