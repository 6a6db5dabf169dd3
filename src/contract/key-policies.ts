/** Key policies: what holds for every key of an organization or a project, whatever the key itself says. */
import { z } from 'zod'
import { type Endpoints, expiresInSeconds } from './endpoint.ts'
import { allowedCidrs, allowedOrigins } from './key-settings.ts'

const members = {
  allowed_cidrs: z.array(z.string()).describe('From where its keys may be used. Empty: from everywhere.'),
  allowed_origins: z.array(z.string()).describe('By which web pages its keys may be used. Empty: by all.'),
  key_lifetime_seconds_max: z.int().nullable().describe('The longest that a new key may live. Null: for ever.'),
  service_accounts_only: z.boolean().describe('Only service accounts get new keys.'),
}

const organizationKeyPolicy = z
  .object({ object: z.literal('organization.key_policy'), ...members })
  .meta({ id: 'OrganizationKeyPolicy' })
const projectKeyPolicy = z
  .object({ object: z.literal('project.key_policy'), ...members })
  .meta({ id: 'ProjectKeyPolicy' })

const body = z.strictObject({
  allowed_cidrs: allowedCidrs.optional(),
  allowed_origins: allowedOrigins.optional(),
  key_lifetime_seconds_max: expiresInSeconds.nullish().describe('Keys that live already stay as they are.'),
  service_accounts_only: z.boolean().optional(),
})

export const keyPolicies = {
  retrieve: {
    method: 'GET',
    path: '/v1/organization/key_policy',
    summary: 'Retrieve the key policy of the organization.',
    scope: 'api.organization.settings.read',
    answer: organizationKeyPolicy,
  },
  update: {
    method: 'POST',
    path: '/v1/organization/key_policy',
    summary: 'Change the key policy of the organization: what is left out stays.',
    scope: 'api.organization.settings.write',
    body,
    answer: organizationKeyPolicy,
  },
  retrieveForProject: {
    method: 'GET',
    path: '/v1/organization/projects/{project_id}/key_policy',
    summary: 'Retrieve the key policy of a project.',
    scope: 'api.organization.projects.read',
    answer: projectKeyPolicy,
  },
  updateForProject: {
    method: 'POST',
    path: '/v1/organization/projects/{project_id}/key_policy',
    summary: "Change the key policy of a project, which adds to the organization's: what is left out stays.",
    scope: 'api.organization.projects.write',
    body,
    answer: projectKeyPolicy,
  },
} as const satisfies Endpoints
