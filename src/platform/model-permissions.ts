/** Which models the keys of a project may call. The gateway holds every call to it, and GET /v1/models shows no others. */
import { apiError } from '#contract/errors.ts'
import type { modelPermissions } from '#contract/model-permissions.ts'
import type { Queryable } from '#storage/database.ts'
import {
  deleteModelPermissions,
  type ModelPermissionsRow,
  readModelPermissions,
  setModelPermissions,
} from '#storage/model-permissions.ts'
import { findAlias } from '#storage/models.ts'
import { findProject, type ProjectRow } from '#storage/projects.ts'
import { activeProject, existing } from './active-project.ts'
import { change } from './change.ts'
import type { Handlers } from './handler.ts'

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
      for (const [index, name] of body.model_ids.entries()) await checkOwnName(tx, `model_ids[${index}]`, name)
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

/** An alias may stand for another model tomorrow: a list of what is denied must not change with it. */
async function checkOwnName(tx: Queryable, param: string, name: string): Promise<void> {
  const alias = await findAlias(tx, name)
  if (!alias) return
  const message = `Invalid '${param}': \`${name}\` is an alias. Name the model that it stands for, \`${alias.model}\`.`
  throw apiError('invalid_parameter', { param, message, code: 'invalid_value' })
}

const toPermissions = ({ mode, model_ids }: ModelPermissionsRow) => ({
  object: 'project.model_permissions' as const,
  mode,
  model_ids,
})
