/** The people of an organization. They come by invitation and go by removal; whoever comes back is somebody new. */
import { z } from 'zod'
import { type Endpoints, unixTime } from './endpoint.ts'
import { deleted, listOf, listQuery, queryArray } from './lists.ts'

export const organizationRole = z.enum(['owner', 'reader'])
export const emailAddress = z.email().trim().max(254)

/** Ours, beyond OpenAI: who reads only the role of a membership would miss these. */
export const rolesBeside = z
  .array(
    z.object({
      id: z.string(),
      name: z.string(),
      assignment_sources: z
        .array(z.object({ principal_id: z.string(), principal_type: z.literal('group') }))
        .nullable()
        .describe('The groups that the role comes through.'),
    }),
  )
  .optional()
  .describe(
    'Roles that the person has here besides, at most 100: what they give is not taken by a change of `role`. Not in lists.',
  )

const note = z.string().trim().min(1).max(200).nullable()

export const organizationUser = z
  .object({
    object: z.literal('organization.user'),
    id: z.string(),
    name: z.string(),
    email: z.string().nullable(),
    role: organizationRole,
    added_at: unixTime,
    created: unixTime,
    is_service_account: z.literal(false),
    is_scim_managed: z.literal(false),
    technical_level: z.string().nullable(),
    developer_persona: z.string().nullable(),
    user: z.object({
      object: z.literal('user'),
      id: z.string(),
      email: z.string().nullable(),
      name: z.string(),
      picture: z.string().nullable(),
      enabled: z.literal(true),
      banned: z.literal(false),
      banned_at: z.null(),
    }),
    api_key_last_used_at: unixTime.nullable().optional().describe('Not in lists.'),
    projects: z
      .object({
        object: z.literal('list'),
        data: z.array(z.object({ id: z.string(), name: z.string(), role: z.string() })),
      })
      .optional()
      .describe('Those that the person is a member of, at most 100. Not in lists.'),
    assigned_roles: rolesBeside,
  })
  .meta({ id: 'OrganizationUser' })

export const users = {
  list: {
    method: 'GET',
    path: '/v1/organization/users',
    summary: 'List the people of the organization.',
    scope: 'api.organization.users.read',
    query: listQuery.extend({ emails: queryArray(z.string().max(254)).optional() }),
    answer: listOf(organizationUser),
  },
  retrieve: {
    method: 'GET',
    path: '/v1/organization/users/{user_id}',
    summary: 'Retrieve a person.',
    scope: 'api.organization.users.read',
    answer: organizationUser,
  },
  update: {
    method: 'POST',
    path: '/v1/organization/users/{user_id}',
    summary:
      "Change a person's role in the organization, in place of the one before; roles assigned besides stay, and the answer " +
      'shows them. Its last owner stays one.',
    scope: 'api.organization.users.write',
    body: z.strictObject({
      role: organizationRole.nullish(),
      role_id: z
        .string()
        .nullish()
        .describe(
          'A role of the organization in place of the one before. With a custom one the membership itself is `reader`.',
        ),
      technical_level: note.optional(),
      developer_persona: note.optional(),
    }),
    answer: organizationUser,
  },
  delete: {
    method: 'DELETE',
    path: '/v1/organization/users/{user_id}',
    summary: 'Remove a person from the organization: all of their keys are refused within a second.',
    scope: 'api.organization.users.write',
    answer: deleted('organization.user.deleted'),
  },
} as const satisfies Endpoints
