/** Which hosted tools the keys of a project may ask for. */
import { type HostedTool, type hostedToolPermissions, hostedTools } from '#contract/hosted-tool-permissions.ts'
import { readToolSwitches, setToolSwitches, type ToolSwitches } from '#storage/hosted-tool-permissions.ts'
import { findProject } from '#storage/projects.ts'
import { activeProject, existing } from './active-project.ts'
import { change } from './change.ts'
import type { Call, Handlers } from './handler.ts'

export const hostedToolPermissionHandlers: Handlers<typeof hostedToolPermissions> = {
  async retrieve({ database }, { grant, params }) {
    const { id } = existing(await findProject(database, grant.organizationId, params.project_id))
    return toPermissions(await readToolSwitches(database, id))
  },

  update(parts, call) {
    const { grant, params, body } = call
    return change(parts, call, async tx => {
      const project = await activeProject(tx, grant, params.project_id)
      const hosted_tool_permissions = given(body)
      const switches = await setToolSwitches(tx, project.id, hosted_tool_permissions)
      const detail = { changes_requested: { hosted_tool_permissions } }
      return {
        answer: toPermissions(switches),
        audit: [{ type: 'project.updated', project, resourceId: project.id, detail }],
        affects: [['project', project.id]],
      }
    })
  },
}

const given = (body: Call<typeof hostedToolPermissions.update>['body']): ToolSwitches =>
  Object.fromEntries(hostedTools.flatMap(tool => (body[tool] ? [[tool, body[tool].enabled]] : [])))

function toPermissions(switches: ToolSwitches) {
  const shown = (tool: HostedTool) => ({ enabled: switches[tool] ?? true })
  return {
    file_search: shown('file_search'),
    web_search: shown('web_search'),
    image_generation: shown('image_generation'),
    mcp: shown('mcp'),
    code_interpreter: shown('code_interpreter'),
  }
}
