/** Who has which role, in the organization or in a project, besides the role that the membership itself carries. */
import { z } from 'zod'
import { type Endpoints, unixTime } from './endpoint.ts'
import { group } from './groups.ts'
import { nextListLimitMax, nextListOf, nextListQuery } from './lists.ts'
import { role } from './roles.ts'
import { organizationUser } from './users.ts'

export const assignedRole = role
  .omit({ object: true })
  .extend({
    created_at: unixTime.nullable(),
    updated_at: unixTime.nullable(),
    created_by: z.string().nullable(),
    created_by_user_obj: z.object({ id: z.string(), name: z.string(), email: z.string().nullable() }).nullable(),
    metadata: z.null(),
    assignment_sources: z
      .array(z.object({ principal_id: z.string(), principal_type: z.literal('group') }))
      .nullable()
      .describe('The groups that a person has the role through.'),
  })
  .meta({ id: 'AssignedRole' })

const assignedGroup = group
  .omit({ is_scim_managed: true, group_type: true })
  .extend({ object: z.literal('group'), scim_managed: z.literal(false) })

const given = {
  user: z.object({ object: z.literal('user.role'), user: organizationUser, role }),
  group: z.object({ object: z.literal('group.role'), group: assignedGroup, role }),
}

/** The same four for people and groups, in the organization and in a project. */
const assignmentsOf = <const Base extends `/v1/${string}`, const Kind extends keyof typeof given>(
  base: Base,
  kind: Kind,
) =>
  ({
    list: {
      method: 'GET',
      path: `${base}/${kind}s/{${kind}_id}/roles`,
      summary: `List the roles that a ${kind} was given.`,
      scope: 'api.roles.read',
      query: nextListQuery(nextListLimitMax),
      answer: nextListOf(assignedRole),
    },
    create: {
      method: 'POST',
      path: `${base}/${kind}s/{${kind}_id}/roles`,
      summary: `Give a ${kind} a role, which gives nothing that the key which assigns it may not do itself.`,
      scope: 'api.roles.write',
      body: z.strictObject({ role_id: z.string() }),
      answer: given[kind],
    },
    retrieve: {
      method: 'GET',
      path: `${base}/${kind}s/{${kind}_id}/roles/{role_id}`,
      summary: `Retrieve a role that a ${kind} was given.`,
      scope: 'api.roles.read',
      answer: assignedRole,
    },
    delete: {
      method: 'DELETE',
      path: `${base}/${kind}s/{${kind}_id}/roles/{role_id}`,
      summary: `Take a role from a ${kind}, within a second.`,
      scope: 'api.roles.write',
      answer: z.object({ object: z.literal(`${kind}.role.deleted`), deleted: z.literal(true) }),
    },
  }) as const

export const userRoles = assignmentsOf('/v1/organization', 'user') satisfies Endpoints
export const groupRoles = assignmentsOf('/v1/organization', 'group') satisfies Endpoints
export const projectUserRoles = assignmentsOf('/v1/projects/{project_id}', 'user') satisfies Endpoints
export const projectGroupRoles = assignmentsOf('/v1/projects/{project_id}', 'group') satisfies Endpoints
