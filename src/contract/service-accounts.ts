/** Service accounts: identities of a project for machines. Each has keys of its own, and outlives the people who made it. */
import { z } from 'zod'
import { type Endpoints, expiresInSeconds, givenName, unixTime } from './endpoint.ts'
import { keySettings } from './key-settings.ts'
import { deleted, listOf, listQuery } from './lists.ts'

export const serviceAccount = z
  .object({
    object: z.literal('organization.project.service_account'),
    id: z.string(),
    name: z.string(),
    role: z.enum(['owner', 'member', 'none']),
    created_at: unixTime,
  })
  .meta({ id: 'ServiceAccount' })

const serviceAccountApiKey = z
  .object({
    object: z.literal('organization.project.service_account.api_key'),
    id: z.string(),
    name: z.string(),
    value: z.string(),
    created_at: unixTime,
    expires_at: unixTime.nullable(),
  })
  .meta({ id: 'ServiceAccountApiKey' })

export const serviceAccounts = {
  list: {
    method: 'GET',
    path: '/v1/organization/projects/{project_id}/service_accounts',
    summary: "List a project's service accounts.",
    scope: 'api.organization.projects.service_accounts.read',
    query: listQuery,
    answer: listOf(serviceAccount),
  },
  create: {
    method: 'POST',
    path: '/v1/organization/projects/{project_id}/service_accounts',
    summary: 'Create a service account, and unless told otherwise a key of it, revealed once.',
    scope: 'api.organization.projects.service_accounts.write',
    body: z.strictObject({
      name: givenName,
      create_service_account_only: z.boolean().nullish().describe('Without a role and without a key.'),
      expires_in_seconds: expiresInSeconds.nullish(),
    }),
    answer: serviceAccount
      .extend({ role: z.enum(['member', 'none']), api_key: serviceAccountApiKey.nullable() })
      .meta({ id: 'ServiceAccountCreated' }),
  },
  retrieve: {
    method: 'GET',
    path: '/v1/organization/projects/{project_id}/service_accounts/{service_account_id}',
    summary: 'Retrieve a service account.',
    scope: 'api.organization.projects.service_accounts.read',
    answer: serviceAccount,
  },
  update: {
    method: 'POST',
    path: '/v1/organization/projects/{project_id}/service_accounts/{service_account_id}',
    summary: 'Rename a service account, or change its role in the project.',
    scope: 'api.organization.projects.service_accounts.write',
    body: z.strictObject({ name: givenName.optional(), role: z.enum(['member', 'owner']).optional() }),
    answer: serviceAccount,
  },
  delete: {
    method: 'DELETE',
    path: '/v1/organization/projects/{project_id}/service_accounts/{service_account_id}',
    summary: 'Delete a service account: all of its keys are refused, everywhere within a second.',
    scope: 'api.organization.projects.service_accounts.write',
    answer: deleted('organization.project.service_account.deleted'),
  },
  createApiKey: {
    method: 'POST',
    path: '/v1/organization/projects/{project_id}/service_accounts/{service_account_id}/api_keys',
    summary: 'Create a further key of a service account and reveal its secret, once.',
    scope: 'api.organization.projects.service_accounts.write',
    body: z
      .strictObject({
        name: givenName.optional(),
        ...keySettings,
        expires_in_seconds: expiresInSeconds.nullish(),
      })
      .prefault({}),
    answer: serviceAccountApiKey,
  },
} as const satisfies Endpoints
