/** Which of the tools that a provider runs itself the keys of a project may ask for. */
import { z } from 'zod'
import type { Endpoints } from './endpoint.ts'

/** As a request's `tools` name them in `type`. */
export const hostedTools = ['file_search', 'web_search', 'image_generation', 'mcp', 'code_interpreter'] as const
export type HostedTool = (typeof hostedTools)[number]

const permission = z.object({ enabled: z.boolean() })
const permissionUpdate = z.strictObject({ enabled: z.boolean() }).nullish().describe('Left out or null: as it was.')

export const hostedToolPermission = z
  .object({
    file_search: permission,
    web_search: permission,
    image_generation: permission,
    mcp: permission,
    code_interpreter: permission,
  } satisfies Record<HostedTool, z.ZodType>)
  .meta({ id: 'ProjectHostedToolPermissions' })

const path = '/v1/organization/projects/{project_id}/hosted_tool_permissions'

export const hostedToolPermissions = {
  retrieve: {
    method: 'GET',
    path,
    summary: 'Retrieve which hosted tools a project may use. All, unless something was disabled.',
    scope: 'api.organization.projects.read',
    answer: hostedToolPermission,
  },
  update: {
    method: 'POST',
    path,
    summary: 'Enable or disable hosted tools of a project. A call that names a disabled one is refused.',
    scope: 'api.organization.projects.write',
    body: z.strictObject({
      file_search: permissionUpdate,
      web_search: permissionUpdate,
      image_generation: permissionUpdate,
      mcp: permissionUpdate,
      code_interpreter: permissionUpdate,
    } satisfies Record<HostedTool, z.ZodType>),
    answer: hostedToolPermission,
  },
} as const satisfies Endpoints
