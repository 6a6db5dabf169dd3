/** Projects: what keys, limits and usage belong to. They are archived and never deleted. */
import { z } from 'zod'
import { type Endpoints, emptyBody, givenName, unixTime } from './endpoint.ts'
import { listOf, listQuery, queryBoolean } from './lists.ts'

export const project = z
  .object({
    object: z.literal('organization.project'),
    id: z.string(),
    name: z.string(),
    created_at: unixTime,
    archived_at: unixTime.nullable(),
    status: z.enum(['active', 'archived']),
  })
  .meta({ id: 'Project' })

const nothing = z
  .null()
  .optional()
  .describe('Taken for compatibility: here is one place, and the keys are of its own disks.')
/** Clients send them as null where they mean none; anything else would promise what we do not keep. */
const elsewhere = { residency: nothing, geography: nothing, external_key_id: nothing }

export const projects = {
  list: {
    method: 'GET',
    path: '/v1/organization/projects',
    summary: 'List projects.',
    scope: 'api.organization.projects.read',
    query: listQuery.extend({ include_archived: queryBoolean.default(false) }),
    answer: listOf(project),
  },
  create: {
    method: 'POST',
    path: '/v1/organization/projects',
    summary: 'Create a project.',
    scope: 'api.organization.projects.write',
    body: z.strictObject({ name: givenName, ...elsewhere }),
    answer: project,
  },
  retrieve: {
    method: 'GET',
    path: '/v1/organization/projects/{project_id}',
    summary: 'Retrieve a project.',
    scope: 'api.organization.projects.read',
    answer: project,
  },
  update: {
    method: 'POST',
    path: '/v1/organization/projects/{project_id}',
    summary: 'Rename a project.',
    scope: 'api.organization.projects.write',
    body: z.strictObject({ name: givenName.nullish(), ...elsewhere }),
    answer: project,
  },
  archive: {
    method: 'POST',
    path: '/v1/organization/projects/{project_id}/archive',
    summary: 'Archive a project: its keys are refused from now on. This cannot be undone.',
    scope: 'api.organization.projects.write',
    body: emptyBody,
    answer: project,
  },
} as const satisfies Endpoints
