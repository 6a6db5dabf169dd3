/** API keys of a project: they call models. OpenAI lets only its dashboard create them; here the API does. */
import { z } from 'zod'
import { type Endpoints, expiresInSeconds, givenName, unixTime } from './endpoint.ts'
import { deleted, listOf, listQuery } from './lists.ts'
import { scopeNames } from './scopes.ts'

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
    scopes: z.array(z.string()).describe('What the key may do. Empty: everything that a project key can.'),
    owner_project_access: z.enum(['active', 'inactive']),
    owner: z.object({
      type: z.enum(['user', 'service_account']),
      user: owner.extend({ email: z.string() }).optional(),
      service_account: owner.optional(),
    }),
  })
  .meta({ id: 'ProjectApiKey' })

export const projectApiKeys = {
  list: {
    method: 'GET',
    path: '/v1/organization/projects/{project_id}/api_keys',
    summary: "List a project's API keys.",
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
      scopes: z.array(z.enum(scopeNames)).max(scopeNames.length).optional().describe('Left out or empty: All.'),
      expires_in_seconds: expiresInSeconds.optional(),
      test: z.boolean().optional().describe('A key that reaches the deterministic test models and nothing else.'),
    }),
    answer: projectApiKey.extend({ value: z.string() }).meta({ id: 'ProjectApiKeyCreated' }),
  },
  retrieve: {
    method: 'GET',
    path: '/v1/organization/projects/{project_id}/api_keys/{key_id}',
    summary: 'Retrieve an API key of a project.',
    scope: 'api.organization.projects.api_keys.read',
    answer: projectApiKey,
  },
  delete: {
    method: 'DELETE',
    path: '/v1/organization/projects/{project_id}/api_keys/{key_id}',
    summary: 'Revoke an API key, everywhere within a second.',
    scope: 'api.organization.projects.api_keys.write',
    answer: deleted('organization.project.api_key.deleted'),
  },
} as const satisfies Endpoints
