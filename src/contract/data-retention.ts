/** What is kept of the content of calls, in an organization and in each of its projects. */
import { z } from 'zod'
import type { Endpoints } from './endpoint.ts'

const organizationTypes = [
  'zero_data_retention',
  'modified_abuse_monitoring',
  'enhanced_zero_data_retention',
  'enhanced_modified_abuse_monitoring',
] as const
const organizationType = z.enum(organizationTypes)
const projectType = z.enum(['organization_default', 'none', ...organizationTypes])

export type OrganizationRetention = z.output<typeof organizationType>
export type ProjectRetention = z.output<typeof projectType>

const organizationAnswer = z
  .object({ object: z.literal('organization.data_retention'), type: organizationType })
  .meta({ id: 'OrganizationDataRetention' })

const projectAnswer = z
  .object({ object: z.literal('project.data_retention'), type: projectType })
  .meta({ id: 'ProjectDataRetention' })

export const organizationDataRetention = {
  retrieve: {
    method: 'GET',
    path: '/v1/organization/data_retention',
    summary: "Retrieve the organization's data retention. Unless set: zero, as Keyhouse keeps no content of calls.",
    scope: 'api.organization.settings.read',
    answer: organizationAnswer,
  },
  update: {
    method: 'POST',
    path: '/v1/organization/data_retention',
    summary: "Set the organization's data retention.",
    scope: 'api.organization.settings.write',
    body: z.strictObject({ retention_type: organizationType }),
    answer: organizationAnswer,
  },
} as const satisfies Endpoints

const projectPath = '/v1/organization/projects/{project_id}/data_retention'

export const projectDataRetention = {
  retrieve: {
    method: 'GET',
    path: projectPath,
    summary: "Retrieve a project's data retention. Unless set: the organization's.",
    scope: 'api.organization.projects.read',
    answer: projectAnswer,
  },
  update: {
    method: 'POST',
    path: projectPath,
    summary: "Set a project's data retention.",
    scope: 'api.organization.projects.write',
    body: z.strictObject({ retention_type: projectType }),
    answer: projectAnswer,
  },
} as const satisfies Endpoints
