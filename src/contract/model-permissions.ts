/** Which models the keys of a project may call. */
import { z } from 'zod'
import type { Endpoints } from './endpoint.ts'
import { modelName } from './models.ts'

const modelsMax = 1_000

export const modelPermission = z
  .object({
    object: z.literal('project.model_permissions'),
    mode: z.enum(['allow_list', 'deny_list']),
    model_ids: z.array(z.string()),
  })
  .meta({ id: 'ProjectModelPermissions' })

const path = '/v1/organization/projects/{project_id}/model_permissions'

export const modelPermissions = {
  retrieve: {
    method: 'GET',
    path,
    summary: "Retrieve a project's model permissions. A deny list without models: it may call all.",
    scope: 'api.organization.projects.read',
    answer: modelPermission,
  },
  update: {
    method: 'POST',
    path,
    summary: 'Let a project call these models and no others, or all but these.',
    scope: 'api.organization.projects.write',
    body: z.strictObject({
      mode: z.enum(['allow_list', 'deny_list']),
      model_ids: z
        .array(modelName)
        .max(modelsMax)
        .describe("The models' own names; an alias is refused. Names that are not there yet count once they are."),
    }),
    answer: modelPermission,
  },
  delete: {
    method: 'DELETE',
    path,
    summary: 'Let a project call all models again.',
    scope: 'api.organization.projects.write',
    answer: z.object({ object: z.literal('project.model_permissions.deleted'), deleted: z.boolean() }),
  },
} as const satisfies Endpoints
