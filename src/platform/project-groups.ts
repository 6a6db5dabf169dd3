/** Groups that have access to a project. */
import { apiError } from '#contract/errors.ts'
import type { projectGroups } from '#contract/project-groups.ts'
import type { Queryable } from '#storage/database.ts'
import { lockGroup } from '#storage/groups.ts'
import {
  deleteProjectGroup,
  findProjectGroup,
  insertProjectGroup,
  listProjectGroups,
  type ProjectGroupRow,
} from '#storage/project-groups.ts'
import { findProject, type ProjectRow } from '#storage/projects.ts'
import { activeProject } from './active-project.ts'
import { assignToMembership } from './assign-role.ts'
import type { AuditEntry } from './audit-entry.ts'
import { change } from './change.ts'
import { existingGroup } from './groups.ts'
import type { Handlers } from './handler.ts'
import { toNextList, unixSeconds } from './page.ts'
import { givenProjectRole } from './project-role.ts'
import { existing } from './projects.ts'

export const projectGroupHandlers: Handlers<typeof projectGroups> = {
  async list({ database }, { grant, params, query }) {
    const project = existing(await findProject(database, grant.organizationId, params.project_id))
    const page = await listProjectGroups(database, project.id, query)
    return toNextList(
      page,
      row => toProjectGroup(project, row),
      row => row.group_id,
    )
  },

  create(parts, call) {
    const { grant, params, body } = call
    return change(parts, call, async tx => {
      const project = await activeProject(tx, grant, params.project_id)
      const { role, custom } = await givenProjectRole(tx, { grant, project, given: body.role })
      const { id } = existingGroup(await lockGroup(tx, grant.organizationId, body.group_id))
      if (!(await insertProjectGroup(tx, { project: project.id, group: id, role }))) throw accessAlready()
      const place = { organizationId: grant.organizationId, projectId: project.id }
      const membership = { place, principal: { kind: 'group', id } } as const
      const assigned = await assignToMembership(tx, membership, { role: custom, project })
      return {
        answer: toProjectGroup(project, await access(tx, project, id)),
        audit: [accessEntry(project, id, { project_added: project.id, role }), ...assigned],
        affects: [['project', project.id]],
      }
    })
  },

  async retrieve({ database }, { grant, params, query }) {
    const project = existing(await findProject(database, grant.organizationId, params.project_id))
    if (query.group_type === 'tenant_group') throw noAccess()
    return toProjectGroup(project, await access(database, project, params.group_id))
  },

  delete(parts, call) {
    const { grant, params } = call
    return change(parts, call, async tx => {
      const project = await activeProject(tx, grant, params.project_id)
      if (!(await deleteProjectGroup(tx, project.id, params.group_id))) throw noAccess()
      return {
        answer: { object: 'project.group.deleted', deleted: true },
        audit: [accessEntry(project, params.group_id, { project_removed: project.id })],
        affects: [['project', project.id]],
      }
    })
  },
}

/** OpenAI has no event of its own for it. */
const accessEntry = (project: ProjectRow, group: string, changes_requested: Record<string, string>): AuditEntry => ({
  type: 'group.updated',
  project,
  resourceId: group,
  detail: { changes_requested },
})

async function access(database: Queryable, project: ProjectRow, group: string): Promise<ProjectGroupRow> {
  const row = await findProjectGroup(database, project.id, group)
  if (!row) throw noAccess()
  return row
}

const noAccess = (): Error => apiError('not_found', { what: 'group in this project' })

const accessAlready = (): Error =>
  apiError('conflict', {
    message: 'The group has access to this project already. Remove it from the project to give it another role.',
  })

const toProjectGroup = (project: ProjectRow, row: ProjectGroupRow) => ({
  object: 'project.group' as const,
  project_id: project.id as string,
  group_id: row.group_id,
  group_name: row.group_name,
  group_type: 'group' as const,
  role: row.role,
  created_at: unixSeconds(row.created_at),
})
