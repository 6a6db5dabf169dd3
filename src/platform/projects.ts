/** Projects. */
import { newId } from '#contract/ids.ts'
import type { projects } from '#contract/projects.ts'
import {
  archiveProject,
  findProject,
  insertProject,
  listProjects,
  type ProjectRow,
  renameProject,
} from '#storage/projects.ts'
import { activeProject, existing } from './active-project.ts'
import type { AuditEventType } from './audit-entry.ts'
import { change } from './change.ts'
import type { Handlers } from './handler.ts'
import { nothingToChange } from './nothing-to-change.ts'
import { toList, unixSeconds, unixSecondsOrNull } from './page.ts'

export { existing }

export const projectHandlers: Handlers<typeof projects> = {
  async list({ database }, { grant, query }) {
    const page = { ...query, archivedToo: query.include_archived }
    return toList(await listProjects(database, grant.organizationId, page), toProject, row => row.id)
  },

  create(parts, call) {
    const { organizationId } = call.grant
    return change(parts, call, async tx => {
      const row = await insertProject(tx, { id: newId('project'), organizationId, name: call.body.name })
      return changed(row, 'project.created', { data: { name: row.name, title: row.name } })
    })
  },

  async retrieve({ database }, { grant, params }) {
    return toProject(existing(await findProject(database, grant.organizationId, params.project_id)))
  },

  update(parts, call) {
    const { grant, params, body } = call
    const { name } = body
    if (name === undefined || name === null) throw nothingToChange()
    return change(parts, call, async tx => {
      const { id } = await activeProject(tx, grant, params.project_id)
      const row = existing(await renameProject(tx, grant.organizationId, { id, name }))
      return changed(row, 'project.updated', { changes_requested: { title: name } })
    })
  },

  archive(parts, call) {
    const { grant, params } = call
    return change(parts, call, async tx => {
      const row = existing(await archiveProject(tx, grant.organizationId, params.project_id))
      return changed(row, 'project.archived', {})
    })
  },
}

const changed = (row: ProjectRow, type: AuditEventType, detail: Readonly<Record<string, unknown>>) => ({
  answer: toProject(row),
  audit: [{ type, project: row, resourceId: row.id, detail }] as const,
  affects: [['project', row.id]] as const,
})

const toProject = (row: ProjectRow) => ({
  object: 'organization.project' as const,
  id: row.id as string,
  name: row.name,
  created_at: unixSeconds(row.created_at),
  archived_at: unixSecondsOrNull(row.archived_at),
  status: row.archived_at === null ? ('active' as const) : ('archived' as const),
})
