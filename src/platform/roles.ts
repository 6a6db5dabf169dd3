/** Roles of the organization and of projects: one table of handlers, since only the place differs. */
import { apiError } from '#contract/errors.ts'
import { newId } from '#contract/ids.ts'
import type { projectRoles, roles } from '#contract/roles.ts'
import type { Grant } from '#core/grant.ts'
import { requireGrantable, requirePermissions } from '#core/granting.ts'
import type { AuthSubject } from '#storage/auth-events.ts'
import type { Queryable } from '#storage/database.ts'
import { type PageRequest, toPage } from '#storage/keyset.ts'
import { lockOrganization } from '#storage/organizations.ts'
import { findProject, type ProjectRow } from '#storage/projects.ts'
import {
  deleteRole,
  findRole,
  insertRole,
  isRoleNameTaken,
  lockRole,
  type RolePlace,
  type RoleRow,
  readRoles,
  updateRole,
} from '#storage/roles.ts'
import { activeProject } from './active-project.ts'
import type { AuditEntry } from './audit-entry.ts'
import { change } from './change.ts'
import type { Handlers } from './handler.ts'
import { toNextList } from './page.ts'
import { existing } from './projects.ts'
import { predefined, predefinedIn, type Role, toRole } from './role.ts'

export const roleHandlers: Handlers<typeof roles> & Handlers<typeof projectRoles> = {
  async list({ database }, { grant, params, query }) {
    const place = await placeToRead(database, grant, params)
    const rows = await rolesBehind(database, place, query)
    return toNextList(
      toPage(rows, query),
      role => role,
      ({ id }) => id,
    )
  },

  create(parts, call) {
    const { grant, params, body } = call
    return change(parts, call, async tx => {
      const { place, project, affects } = await placeToChange(tx, grant, params)
      requirePermissions(body.permissions, project ? 'project' : 'organization')
      requireGrantable(grant, body.permissions)
      await requireFreeName(tx, place, { name: body.role_name, except: null })
      const draft = { id: newId('role'), name: body.role_name, description: body.description ?? null }
      const permissions = [...new Set(body.permissions)]
      const role = toRole(await insertRole(tx, place, { ...draft, permissions, createdBy: grant.userId }), place)
      return { answer: role, audit: [created(role, place, project)], affects }
    })
  },

  async retrieve({ database }, { grant, params }) {
    const place = await placeToRead(database, grant, params)
    const row = await findRole(database, place, params.role_id)
    return row ? toRole(row, place) : existingRole(predefined(params.role_id, place))
  },

  update(parts, call) {
    const { grant, params, body } = call
    return change(parts, call, async tx => {
      const { place, project, affects } = await placeToChange(tx, grant, params)
      const row = await customRole(tx, place, params.role_id)
      const next = {
        id: row.id,
        name: body.role_name ?? row.name,
        description: body.description === undefined ? row.description : body.description,
        permissions: [...new Set(body.permissions ?? row.permissions)],
      }
      const added = next.permissions.filter(permission => !row.permissions.includes(permission))
      requirePermissions(added, project ? 'project' : 'organization')
      requireGrantable(grant, added)
      await requireFreeName(tx, place, { name: next.name, except: row.id })
      await updateRole(tx, next)
      return { answer: toRole(next, place), audit: [updated(row, next, project)], affects }
    })
  },

  delete(parts, call) {
    const { grant, params } = call
    return change(parts, call, async tx => {
      const { place, project, affects } = await placeToChange(tx, grant, params)
      const { id } = await customRole(tx, place, params.role_id)
      await deleteRole(tx, id)
      return {
        answer: { id, object: 'role.deleted', deleted: true },
        audit: [{ type: 'role.deleted', project, resourceId: id }],
        affects,
      }
    })
  },
}

/** From the cursor on, the predefined ones before all others; at least one more than the page holds, where there is one. */
async function rolesBehind(database: Queryable, place: RolePlace, page: PageRequest): Promise<Role[]> {
  const known = predefinedIn(place)
  if (page.order === 'desc') known.reverse()
  const first = page.after === undefined ? undefined : predefined(page.after, place)
  const cursor = known.findIndex(({ id }) => id === first?.id)
  const rest = known.slice(cursor + 1)
  const custom = async (after: string | undefined): Promise<Role[]> =>
    (await readRoles(database, place, { ...page, after })).map(row => toRole(row, place))
  if (page.order === 'desc') return cursor >= 0 ? rest : [...(await custom(page.after)), ...rest]
  const after = cursor >= 0 ? undefined : page.after
  return after === undefined ? [...rest, ...(await custom(undefined))] : custom(after)
}

/** Of a path in a project, or of one without. */
type Params = { readonly project_id?: string; readonly role_id?: string }

export async function placeToRead(database: Queryable, grant: Grant, { project_id: id }: Params): Promise<RolePlace> {
  const { organizationId } = grant
  const project = id === undefined ? null : existing(await findProject(database, organizationId, id))
  return { organizationId, projectId: project?.id ?? null }
}

export type ChangingPlace = {
  readonly place: RolePlace
  readonly project: ProjectRow | null
  /** Whose grants a change here concerns. */
  readonly affects: readonly [readonly [AuthSubject, string]]
}

/** Locked until the transaction ends, so that a name is free and stays so. */
export async function placeToChange(tx: Queryable, grant: Grant, { project_id: id }: Params): Promise<ChangingPlace> {
  const { organizationId } = grant
  await lockOrganization(tx, organizationId)
  if (id === undefined) {
    return { place: { organizationId, projectId: null }, project: null, affects: [['organization', organizationId]] }
  }
  const project = await activeProject(tx, grant, id)
  return { place: { organizationId, projectId: project.id }, project, affects: [['project', project.id]] }
}

async function customRole(tx: Queryable, place: RolePlace, id: string): Promise<RoleRow> {
  const row = await lockRole(tx, place, id)
  if (row) return row
  const known = existingRole(predefined(id, place))
  throw apiError('conflict', {
    message: `\`${known.name}\` is a predefined role, which nobody changes or deletes. Create a role of your own instead.`,
  })
}

function existingRole(role: Role | undefined): Role {
  if (!role) throw apiError('not_found', { what: 'role here' })
  return role
}

async function requireFreeName(
  tx: Queryable,
  place: RolePlace,
  wanted: { name: string; except: string | null },
): Promise<void> {
  const isPredefined = predefinedIn(place).some(({ name }) => name === wanted.name.toLowerCase())
  if (!isPredefined && !(await isRoleNameTaken(tx, place, wanted))) return
  throw apiError('conflict', { message: `There is a role named '${wanted.name}' already. Choose another name.` })
}

const created = (role: Role, { organizationId, projectId }: RolePlace, project: ProjectRow | null): AuditEntry => ({
  type: 'role.created',
  project,
  resourceId: role.id,
  detail: {
    role_name: role.name,
    permissions: role.permissions,
    resource_type: role.resource_type,
    resource_id: projectId ?? organizationId,
  },
})

const updated = (before: RoleRow, after: RoleRow, project: ProjectRow | null): AuditEntry => ({
  type: 'role.updated',
  project,
  resourceId: after.id,
  detail: {
    changes_requested: {
      role_name: after.name,
      description: after.description ?? '',
      permissions_added: after.permissions.filter(permission => !before.permissions.includes(permission)),
      permissions_removed: before.permissions.filter(permission => !after.permissions.includes(permission)),
    },
  },
})
