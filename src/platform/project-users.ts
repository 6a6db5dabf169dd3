/** Members of projects. */
import { apiError } from '#contract/errors.ts'
import type { projectUsers } from '#contract/project-users.ts'
import type { Grant } from '#core/grant.ts'
import type { Queryable } from '#storage/database.ts'
import {
  deleteProjectUser,
  findProjectUser,
  insertProjectUser,
  listProjectUsers,
  lockProjectUser,
  type ProjectUserRow,
  updateProjectUser,
} from '#storage/project-users.ts'
import { findProject, type ProjectRow } from '#storage/projects.ts'
import { findUserByEmail, lockUser, type UserRow } from '#storage/users.ts'
import { activeProject } from './active-project.ts'
import { assignToMembership, type Membership } from './assign-role.ts'
import { rolesBeside } from './assigned-roles.ts'
import type { AuditEntry } from './audit-entry.ts'
import { change } from './change.ts'
import type { Handlers } from './handler.ts'
import { toList, unixSeconds } from './page.ts'
import { givenProjectRole } from './project-role.ts'
import { existing } from './projects.ts'
import { existingUser } from './users.ts'

export const projectUserHandlers: Handlers<typeof projectUsers> = {
  async list({ database }, { grant, params, query }) {
    const project = existing(await findProject(database, grant.organizationId, params.project_id))
    return toList(await listProjectUsers(database, project.id, query), toProjectUser, row => row.id)
  },

  create(parts, call) {
    const { grant, params, body } = call
    return change(parts, call, async tx => {
      const project = await activeProject(tx, grant, params.project_id)
      const { role, custom } = await givenProjectRole(tx, { grant, project, given: body.role })
      const user = await lockNamed(tx, grant, body)
      if (!(await insertProjectUser(tx, { project: project.id, user: user.id, role }))) throw memberAlready()
      const assigned = await assignToMembership(tx, membershipOf(grant, project, user.id), { role: custom, project })
      const added = { type: 'user.added', project, resourceId: user.id, detail: { data: { role } } } as const
      return changed(project, await describeMember(tx, grant, project, user.id), [added, ...assigned])
    })
  },

  async retrieve({ database }, { grant, params }) {
    const project = existing(await findProject(database, grant.organizationId, params.project_id))
    return describeMember(database, grant, project, params.user_id)
  },

  update(parts, call) {
    const { grant, params, body } = call
    const { user_id: id } = params
    return change(parts, call, async tx => {
      const project = await activeProject(tx, grant, params.project_id)
      const before = existingMember(await lockProjectUser(tx, project.id, id))
      const given = body.role ?? before.custom_role ?? before.role
      const { role, custom } = await givenProjectRole(tx, { grant, project, given })
      await updateProjectUser(tx, { project: project.id, user: id, role })
      const assigned = await assignToMembership(tx, membershipOf(grant, project, id), { role: custom, project })
      const detail = { changes_requested: { role } }
      const updated = { type: 'user.updated', project, resourceId: id, detail } as const
      return changed(project, await describeMember(tx, grant, project, id), [updated, ...assigned])
    })
  },

  delete(parts, call) {
    const { grant, params } = call
    const { user_id: id } = params
    return change(parts, call, async tx => {
      const project = await activeProject(tx, grant, params.project_id)
      if (!(await deleteProjectUser(tx, project.id, id))) throw noSuchMember()
      return {
        answer: { id, object: 'organization.project.user.deleted', deleted: true },
        audit: [{ type: 'user.deleted', project, resourceId: id }],
        affects: [['project', project.id]],
      }
    })
  },
}

type Named = { readonly user_id?: string | null | undefined; readonly email?: string | null | undefined }

/** The person that `user_id` or `email` names, held until the transaction ends. */
async function lockNamed(tx: Queryable, { organizationId }: Grant, { user_id, email }: Named): Promise<UserRow> {
  if ((user_id ?? undefined) === undefined && (email ?? undefined) === undefined) throw nobodyNamed()
  const byEmail = email ? existingUser(await findUserByEmail(tx, organizationId, email)) : undefined
  const user = existingUser(await lockUser(tx, organizationId, user_id ?? byEmail?.id ?? ''))
  if (byEmail && byEmail.id !== user.id) throw twoNamed()
  return user
}

const nobodyNamed = (): Error => apiError('missing_parameter', { param: 'user_id' })

const twoNamed = (): Error =>
  apiError('invalid_parameter', { param: 'email', message: "'user_id' and 'email' name two people. Send one of them." })

const memberAlready = (): Error =>
  apiError('conflict', { message: 'The user is a member of this project already. Change the role instead.' })

const noSuchMember = (): Error => apiError('not_found', { what: 'user in this project' })

function existingMember(row: ProjectUserRow | undefined): ProjectUserRow {
  if (!row) throw noSuchMember()
  return row
}

const membershipOf = ({ organizationId }: Grant, { id: projectId }: ProjectRow, id: string): Membership => ({
  place: { organizationId, projectId },
  principal: { kind: 'user', id },
})

type Member = ReturnType<typeof toProjectUser> & { readonly assigned_roles: Awaited<ReturnType<typeof rolesBeside>> }

async function describeMember(database: Queryable, grant: Grant, project: ProjectRow, id: string): Promise<Member> {
  const row = existingMember(await findProjectUser(database, project.id, id))
  const assigned_roles = await rolesBeside(database, membershipOf(grant, project, row.id))
  return { ...toProjectUser(row), assigned_roles }
}

const changed = (project: ProjectRow, answer: Member, audit: [AuditEntry, ...AuditEntry[]]) => ({
  answer,
  audit,
  affects: [['project', project.id]] as const,
})

const toProjectUser = (row: ProjectUserRow) => ({
  object: 'organization.project.user' as const,
  id: row.id as string,
  name: row.name,
  email: row.email,
  role: row.custom_role ?? row.role,
  added_at: unixSeconds(row.added_at),
})
