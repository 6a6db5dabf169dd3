/** Which hosted tools a project may use. What is not named is enabled. What the gateway reads of it is in grants.ts. */
import type { HostedTool } from '#contract/hosted-tool-permissions.ts'
import type { ProjectId } from '#contract/ids.ts'
import { only, type Queryable, sql } from './database.ts'

export type ToolSwitches = { readonly [Tool in HostedTool]?: boolean }

export async function readToolSwitches(database: Queryable, project: ProjectId): Promise<ToolSwitches> {
  const text = 'select tools from hosted_tool_permissions where project_id = $1'
  const [row] = await database.query<{ tools: ToolSwitches }>(sql(text), [project])
  return row?.tools ?? {}
}

/** Sets what is given and leaves the rest as it was. */
export async function setToolSwitches(
  tx: Queryable,
  project: ProjectId,
  switches: ToolSwitches,
): Promise<ToolSwitches> {
  const text = `insert into hosted_tool_permissions (project_id, tools) values ($1, $2)
    on conflict (project_id) do update set tools = hosted_tool_permissions.tools || excluded.tools, updated_at = now()
    returning tools`
  return only(await tx.query<{ tools: ToolSwitches }>(sql(text), [project, switches])).tools
}
