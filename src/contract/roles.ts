/** Roles: named sets of permissions, of the organization or of one project. Predefined ones are in every list and never change. */
import { z } from 'zod'
import { type Endpoints, givenName } from './endpoint.ts'
import { deleted, nextListLimitMax, nextListOf, nextListQuery } from './lists.ts'

const permissionsMax = 200
const description = z.string().trim().max(500).nullable()
const permissions = z
  .array(z.string().max(100))
  .min(1)
  .max(permissionsMax)
  .describe('Scope strings; docs/permissions.md lists them.')

export const role = z
  .object({
    object: z.literal('role'),
    id: z.string(),
    name: z.string(),
    description: z.string().nullable(),
    permissions: z.array(z.string()),
    resource_type: z.enum(['api.organization', 'api.project']),
    predefined_role: z.boolean(),
  })
  .meta({ id: 'Role' })

/** The same five for the organization and for a project: only where they live differs. */
const rolesAt = <const Base extends `/v1/${string}`>(base: Base) =>
  ({
    list: {
      method: 'GET',
      path: `${base}/roles`,
      summary: 'List roles, the predefined ones first.',
      scope: 'api.roles.read',
      query: nextListQuery(nextListLimitMax),
      answer: nextListOf(role),
    },
    create: {
      method: 'POST',
      path: `${base}/roles`,
      summary: 'Create a role. It gives nothing that the key which makes it may not do itself.',
      scope: 'api.roles.write',
      body: z.strictObject({ role_name: givenName, permissions, description: description.optional() }),
      answer: role,
    },
    retrieve: {
      method: 'GET',
      path: `${base}/roles/{role_id}`,
      summary: 'Retrieve a role.',
      scope: 'api.roles.read',
      answer: role,
    },
    update: {
      method: 'POST',
      path: `${base}/roles/{role_id}`,
      summary: 'Change a role, for everybody who has it within a second.',
      scope: 'api.roles.write',
      body: z.strictObject({
        role_name: givenName.nullish(),
        permissions: permissions.nullish(),
        description: description.optional(),
      }),
      answer: role,
    },
    delete: {
      method: 'DELETE',
      path: `${base}/roles/{role_id}`,
      summary: 'Delete a role and take it from everybody who has it, within a second.',
      scope: 'api.roles.write',
      answer: deleted('role.deleted'),
    },
  }) as const

export const roles = rolesAt('/v1/organization') satisfies Endpoints
export const projectRoles = rolesAt('/v1/projects/{project_id}') satisfies Endpoints
