/** Admin API keys: they manage the organization and cannot call models. */
import { z } from 'zod'
import { type Endpoints, emptyBody, expiresInSeconds, givenName, unixTime } from './endpoint.ts'
import { keyScopes } from './key-settings.ts'
import { deleted, listOf, listQuery } from './lists.ts'

export const adminApiKey = z
  .object({
    object: z.literal('organization.admin_api_key'),
    id: z.string(),
    name: z.string(),
    redacted_value: z.string(),
    created_at: unixTime,
    expires_at: unixTime.nullable(),
    last_used_at: unixTime.nullable(),
    status: z.enum(['active', 'disabled', 'expired']),
    scopes: z.array(z.string()).describe('What the key may do. Empty: everything that its owner may.'),
    owner: z.object({
      type: z.enum(['user', 'service_account']),
      object: z.enum(['organization.user', 'organization.service_account']),
      id: z.string(),
      name: z.string(),
      created_at: unixTime,
      role: z.string(),
    }),
  })
  .meta({ id: 'AdminApiKey' })

export const adminApiKeys = {
  list: {
    method: 'GET',
    path: '/v1/organization/admin_api_keys',
    summary: 'List admin API keys.',
    scope: 'api.organization.admin_api_keys.read',
    query: listQuery,
    answer: listOf(adminApiKey),
  },
  create: {
    method: 'POST',
    path: '/v1/organization/admin_api_keys',
    summary: 'Create an admin API key and reveal its secret, once.',
    scope: 'api.organization.admin_api_keys.write',
    body: z.strictObject({
      name: givenName,
      expires_in_seconds: expiresInSeconds.optional(),
      scopes: keyScopes.optional().describe('Left out: those of the key that asks. No key makes one that may do more.'),
    }),
    answer: adminApiKey.extend({ value: z.string() }).meta({ id: 'AdminApiKeyCreated' }),
  },
  retrieve: {
    method: 'GET',
    path: '/v1/organization/admin_api_keys/{key_id}',
    summary: 'Retrieve an admin API key.',
    scope: 'api.organization.admin_api_keys.read',
    answer: adminApiKey,
  },
  disable: {
    method: 'POST',
    path: '/v1/organization/admin_api_keys/{key_id}/disable',
    summary: 'Refuse an admin API key, everywhere within a second, until it is enabled again. The last one stays.',
    scope: 'api.organization.admin_api_keys.write',
    body: emptyBody,
    answer: adminApiKey,
  },
  enable: {
    method: 'POST',
    path: '/v1/organization/admin_api_keys/{key_id}/enable',
    summary: 'Let a disabled admin API key work again.',
    scope: 'api.organization.admin_api_keys.write',
    body: emptyBody,
    answer: adminApiKey,
  },
  delete: {
    method: 'DELETE',
    path: '/v1/organization/admin_api_keys/{key_id}',
    summary: 'Revoke an admin API key, everywhere within a second. The last one stays.',
    scope: 'api.organization.admin_api_keys.write',
    answer: deleted('organization.admin_api_key.deleted'),
  },
} as const satisfies Endpoints
