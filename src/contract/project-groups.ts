/** Groups that have access to a project: every member of one is a member of the project. */
import { z } from 'zod'
import { type Endpoints, unixTime } from './endpoint.ts'
import { listLimitMax, nextListOf, nextListQuery } from './lists.ts'
import { projectRoleOrId } from './project-users.ts'

const projectGroupsPerPage = 20

export const projectGroup = z
  .object({
    object: z.literal('project.group'),
    project_id: z.string(),
    group_id: z.string(),
    group_name: z.string(),
    group_type: z.literal('group'),
    role: z
      .enum(['owner', 'member', 'viewer', 'none'])
      .describe('Ours, beyond OpenAI. `none`: only what is assigned besides.'),
    created_at: unixTime,
  })
  .meta({ id: 'ProjectGroup' })

const path = '/v1/organization/projects/{project_id}/groups'

export const projectGroups = {
  list: {
    method: 'GET',
    path,
    summary: 'List the groups that have access to a project.',
    scope: 'api.organization.projects.read',
    query: nextListQuery(projectGroupsPerPage, { limitMax: listLimitMax }),
    answer: nextListOf(projectGroup),
  },
  create: {
    method: 'POST',
    path,
    summary: 'Give a group access to a project.',
    scope: 'api.organization.projects.write',
    body: z.strictObject({ group_id: z.string(), role: projectRoleOrId }),
    answer: projectGroup,
  },
  retrieve: {
    method: 'GET',
    path: `${path}/{group_id}`,
    summary: 'Retrieve a group that has access to a project.',
    scope: 'api.organization.projects.read',
    query: z.strictObject({ group_type: z.enum(['group', 'tenant_group']).default('group') }),
    answer: projectGroup,
  },
  delete: {
    method: 'DELETE',
    path: `${path}/{group_id}`,
    summary: 'Take a project away from a group, within a second.',
    scope: 'api.organization.projects.write',
    answer: z.object({ object: z.literal('project.group.deleted'), deleted: z.literal(true) }),
  },
} as const satisfies Endpoints
