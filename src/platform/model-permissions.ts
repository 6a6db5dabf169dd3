/** Which models the keys of a project may call. The gateway holds every call to it, and GET /v1/models shows no others. */
import type { modelPermissions } from '#contract/model-permissions.ts'
import {
  deleteModelPermissions,
  type ModelPermissionsRow,
  readModelPermissions,
  setModelPermissions,
} from '#storage/model-permissions.ts'
import { findProject, type ProjectRow } from '#storage/projects.ts'
import { activeProject, existing } from './active-project.ts'
import { change } from './change.ts'
import type { Handlers } from './handler.ts'
import { checkOwnNames } from './own-model-names.ts'

/** What holds where nobody has said anything. */
const allModels: ModelPermissionsRow = { mode: 'deny_list', model_ids: [] }

export const modelPermissionHandlers: Handlers<typeof modelPermissions> = {
  async retrieve({ database }, { grant, params }) {
    const { id } = existing(await findProject(database, grant.organizationId, params.project_id))
    return toPermissions((await readModelPermissions(database, id)) ?? allModels)
  },

  update(parts, call) {
    const { grant, params, body } = call
    return change(parts, call, async tx => {
      const project = await activeProject(tx, grant, params.project_id)
      await checkOwnNames(tx, 'model_ids', body.model_ids)
      const row = await setModelPermissions(tx, project.id, { ...body, model_ids: [...new Set(body.model_ids)] })
      return { answer: toPermissions(row), ...changed(project, row) }
    })
  },

  delete(parts, call) {
    const { grant, params } = call
    return change(parts, call, async tx => {
      const project = await activeProject(tx, grant, params.project_id)
      const deleted = await deleteModelPermissions(tx, project.id)
      return { answer: { object: 'project.model_permissions.deleted' as const, deleted }, ...changed(project, null) }
    })
  },
}

const changed = (project: ProjectRow, model_permissions: ModelPermissionsRow | null) => ({
  audit: [
    {
      type: 'project.updated',
      project,
      resourceId: project.id,
      detail: { changes_requested: { model_permissions } },
    },
  ] as const,
  affects: [['project', project.id]] as const,
})

const toPermissions = ({ mode, model_ids }: ModelPermissionsRow) => ({
  object: 'project.model_permissions' as const,
  mode,
  model_ids,
})
