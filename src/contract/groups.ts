/** Groups of people. What a group is given, in a project or by a role, every member of it has. */
import { z } from 'zod'
import { type Endpoints, givenName, unixTime } from './endpoint.ts'
import { deleted, nextListOf, nextListQuery } from './lists.ts'

const groupsPerPage = 100

export const group = z
  .object({
    id: z.string(),
    name: z.string(),
    created_at: unixTime,
    is_scim_managed: z.literal(false),
    group_type: z.literal('group'),
  })
  .meta({ id: 'Group' })

export const groupUser = z
  .object({ id: z.string(), name: z.string(), email: z.string().nullable() })
  .meta({ id: 'GroupUser' })

export const groups = {
  list: {
    method: 'GET',
    path: '/v1/organization/groups',
    summary: 'List groups.',
    scope: 'api.groups.read',
    query: nextListQuery(groupsPerPage),
    answer: nextListOf(group),
  },
  create: {
    method: 'POST',
    path: '/v1/organization/groups',
    summary: 'Create a group.',
    scope: 'api.groups.write',
    body: z.strictObject({ name: givenName }),
    answer: group,
  },
  retrieve: {
    method: 'GET',
    path: '/v1/organization/groups/{group_id}',
    summary: 'Retrieve a group.',
    scope: 'api.groups.read',
    answer: group,
  },
  update: {
    method: 'POST',
    path: '/v1/organization/groups/{group_id}',
    summary: 'Rename a group.',
    scope: 'api.groups.write',
    body: z.strictObject({ name: givenName }),
    answer: group,
  },
  delete: {
    method: 'DELETE',
    path: '/v1/organization/groups/{group_id}',
    summary: 'Delete a group: its members lose what it gave them, within a second.',
    scope: 'api.groups.write',
    answer: deleted('group.deleted'),
  },
} as const satisfies Endpoints

export const groupUsers = {
  list: {
    method: 'GET',
    path: '/v1/organization/groups/{group_id}/users',
    summary: 'List the members of a group.',
    scope: 'api.groups.read',
    query: nextListQuery(groupsPerPage, { order: 'desc' }),
    answer: nextListOf(groupUser),
  },
  create: {
    method: 'POST',
    path: '/v1/organization/groups/{group_id}/users',
    summary: 'Add a person to a group.',
    scope: 'api.groups.write',
    body: z.strictObject({ user_id: z.string() }),
    answer: z.object({ object: z.literal('group.user'), user_id: z.string(), group_id: z.string() }),
  },
  retrieve: {
    method: 'GET',
    path: '/v1/organization/groups/{group_id}/users/{user_id}',
    summary: 'Retrieve a member of a group.',
    scope: 'api.groups.read',
    answer: groupUser.extend({
      picture: z.string().nullable(),
      is_service_account: z.literal(false),
      user_type: z.literal('user'),
    }),
  },
  delete: {
    method: 'DELETE',
    path: '/v1/organization/groups/{group_id}/users/{user_id}',
    summary: 'Remove a person from a group: what it gave them ends within a second.',
    scope: 'api.groups.write',
    answer: z.object({ object: z.literal('group.user.deleted'), deleted: z.literal(true) }),
  },
} as const satisfies Endpoints
