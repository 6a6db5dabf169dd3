/** The members of a project. Owners of the organization reach every project without being one. */
import { z } from 'zod'
import { type Endpoints, unixTime } from './endpoint.ts'
import { deleted, listOf, listQuery } from './lists.ts'
import { emailAddress, rolesBeside } from './users.ts'

/** A predefined role by its name or by its id, or the id of a custom role of the project. */
export const projectRoleOrId = z
  .string()
  .min(1)
  .max(256)
  .describe(
    "`owner`, `member`, `viewer`, `none`, or a role's id. A custom role is assigned, and the membership itself is `none`.",
  )

export const projectUser = z
  .object({
    object: z.literal('organization.project.user'),
    id: z.string(),
    name: z.string(),
    email: z.string().nullable(),
    role: z
      .string()
      .describe('`owner`, `member`, `viewer`, `none`, or the id of the custom role that the membership has.'),
    added_at: unixTime,
    assigned_roles: rolesBeside,
  })
  .meta({ id: 'ProjectUser' })

const path = '/v1/organization/projects/{project_id}/users'

export const projectUsers = {
  list: {
    method: 'GET',
    path,
    summary: 'List the members of a project.',
    scope: 'api.organization.projects.read',
    query: listQuery,
    answer: listOf(projectUser),
  },
  create: {
    method: 'POST',
    path,
    summary: 'Add a person of the organization to a project. Give `user_id` or `email`.',
    scope: 'api.organization.projects.write',
    body: z.strictObject({
      user_id: z.string().nullish(),
      email: emailAddress.nullish(),
      role: projectRoleOrId,
    }),
    answer: projectUser,
  },
  retrieve: {
    method: 'GET',
    path: `${path}/{user_id}`,
    summary: 'Retrieve a member of a project.',
    scope: 'api.organization.projects.read',
    answer: projectUser,
  },
  update: {
    method: 'POST',
    path: `${path}/{user_id}`,
    summary:
      "Change a member's role in a project, in place of the one before and in force everywhere within a second. Roles assigned " +
      'besides stay, and the answer shows them.',
    scope: 'api.organization.projects.write',
    body: z.strictObject({ role: projectRoleOrId.nullish() }),
    answer: projectUser,
  },
  delete: {
    method: 'DELETE',
    path: `${path}/{user_id}`,
    summary: 'Remove a member from a project: their keys there are refused within a second.',
    scope: 'api.organization.projects.write',
    answer: deleted('organization.project.user.deleted'),
  },
} as const satisfies Endpoints
