/** Roles that people and groups were given: one table of handlers for each kind, in the organization and in projects alike. */
import { apiError } from '#contract/errors.ts'
import type { groupRoles, projectGroupRoles, projectUserRoles, userRoles } from '#contract/role-assignments.ts'
import type { Grant } from '#core/grant.ts'
import type { Queryable } from '#storage/database.ts'
import { findGroup, type GroupRow, lockGroup } from '#storage/groups.ts'
import type { PageRequest } from '#storage/keyset.ts'
import { findProjectGroup } from '#storage/project-groups.ts'
import { lockProjectUser } from '#storage/project-users.ts'
import { deleteAssignment, findAssignedRole, listAssignedRoles, type Principal } from '#storage/role-assignments.ts'
import type { RolePlace } from '#storage/roles.ts'
import { findUser, lockUser, type UserRow } from '#storage/users.ts'
import { assign, assignableRole, assignmentEntry } from './assign-role.ts'
import { toAssigned } from './assigned-roles.ts'
import { type Caller, change } from './change.ts'
import { existingGroup } from './groups.ts'
import type { Handlers } from './handler.ts'
import { toNextList, unixSeconds } from './page.ts'
import type { PlatformParts } from './platform.ts'
import { keptId, predefined, type Role } from './role.ts'
import { placeToChange, placeToRead } from './roles.ts'
import { existingUser, toUser } from './users.ts'

export const userRoleHandlers: Handlers<typeof userRoles> & Handlers<typeof projectUserRoles> = {
  list: (parts, call) => listOf(people, parts, call),
  create: (parts, call) => give(people, parts, call, (row, role) => ({ object: 'user.role', user: toUser(row), role })),
  retrieve: (parts, call) => retrieve(people, parts, call),
  delete: (parts, call) => take(people, parts, call, { object: 'user.role.deleted', deleted: true }),
}

export const groupRoleHandlers: Handlers<typeof groupRoles> & Handlers<typeof projectGroupRoles> = {
  list: (parts, call) => listOf(teams, parts, call),
  create: (parts, call) =>
    give(teams, parts, call, (row, role) => ({ object: 'group.role', group: toAssignedGroup(row), role })),
  retrieve: (parts, call) => retrieve(teams, parts, call),
  delete: (parts, call) => take(teams, parts, call, { object: 'group.role.deleted', deleted: true }),
}

type Params = { readonly project_id?: string }
type CallFor<Named> = Caller & { readonly grant: Grant; readonly params: Named & Params }

/** Those who can have roles, of one kind: how one is found, and how it is held while it is being given one. */
type Principals<Row extends { readonly id: string }, Named> = {
  readonly kind: Principal['kind']
  find(database: Queryable, grant: Grant, named: Named): Promise<Row>
  /** @throws ApiError not_found; also for one that has no part in the project */
  lock(tx: Queryable, place: RolePlace, named: Named): Promise<Row>
}

const people: Principals<UserRow, { readonly user_id: string }> = {
  kind: 'user',
  find: async (database, { organizationId }, { user_id: id }) =>
    existingUser(await findUser(database, organizationId, id)),
  async lock(tx, { organizationId, projectId }, { user_id: id }) {
    const row = existingUser(await lockUser(tx, organizationId, id))
    if (projectId !== null && !(await lockProjectUser(tx, projectId, id))) throw notInProject('user')
    return row
  },
}

const teams: Principals<GroupRow, { readonly group_id: string }> = {
  kind: 'group',
  find: async (database, { organizationId }, { group_id: id }) =>
    existingGroup(await findGroup(database, organizationId, id)),
  async lock(tx, { organizationId, projectId }, { group_id: id }) {
    const row = existingGroup(await lockGroup(tx, organizationId, id))
    if (projectId !== null && !(await findProjectGroup(tx, projectId, id))) throw notInProject('group')
    return row
  },
}

const notInProject = (kind: Principal['kind']): Error =>
  apiError('not_found', { what: `${kind} in this project. Add the ${kind} to the project first` })

async function listOf<Row extends { readonly id: string }, Named>(
  { kind, find }: Principals<Row, Named>,
  { database }: PlatformParts,
  { grant, params, query }: CallFor<Named> & { readonly query: PageRequest },
) {
  const place = await placeToRead(database, grant, params)
  const { id } = await find(database, grant, params)
  const after = query.after === undefined ? undefined : keptId(query.after, place)
  const page = await listAssignedRoles(database, place, { kind, id }, { ...query, after })
  return toNextList(
    page,
    row => toAssigned(row, place),
    row => row.role_id,
  )
}

async function retrieve<Row extends { readonly id: string }, Named>(
  { kind, find }: Principals<Row, Named>,
  { database }: PlatformParts,
  { grant, params }: CallFor<Named & { readonly role_id: string }>,
) {
  const place = await placeToRead(database, grant, params)
  const { id } = await find(database, grant, params)
  const row = await findAssignedRole(database, place, { kind, id }, keptId(params.role_id, place))
  if (!row) throw noSuchAssignment(kind)
  return toAssigned(row, place)
}

function give<Row extends { readonly id: string }, Named, Answer>(
  { kind, lock }: Principals<Row, Named>,
  parts: PlatformParts,
  call: CallFor<Named> & { readonly body: { readonly role_id: string } },
  toAnswer: (row: Row, role: Role) => Answer,
): Promise<Answer> {
  const { grant, params, body } = call
  return change(parts, call, async tx => {
    const { place, project, affects } = await placeToChange(tx, grant, params)
    const role = await assignableRole(tx, grant, place, body.role_id)
    const row = await lock(tx, place, params)
    const assignment = { place, principal: { kind, id: row.id }, role }
    if (!(await assign(tx, assignment))) throw hasItAlready(kind)
    return { answer: toAnswer(row, role), audit: [assignmentEntry('created', assignment, project)], affects }
  })
}

function take<Row extends { readonly id: string }, Named, Answer>(
  { kind, find }: Principals<Row, Named>,
  parts: PlatformParts,
  call: CallFor<Named & { readonly role_id: string }>,
  answer: Answer,
): Promise<Answer> {
  const { grant, params } = call
  return change(parts, call, async tx => {
    const { place, project, affects } = await placeToChange(tx, grant, params)
    const { id } = await find(tx, grant, params)
    const principal = { kind, id }
    if (!(await deleteAssignment(tx, place, principal, keptId(params.role_id, place)))) throw noSuchAssignment(kind)
    const entry = assignmentEntry(
      'deleted',
      { place, principal, role: { id: shownId(params.role_id, place) } },
      project,
    )
    return { answer, audit: [entry], affects }
  })
}

const hasItAlready = (kind: Principal['kind']): Error =>
  apiError('conflict', { message: `The ${kind} has this role already.` })

const noSuchAssignment = (kind: Principal['kind']): Error =>
  apiError('not_found', { what: `role that this ${kind} was given itself` })

const toAssignedGroup = ({ id, name, created_at }: GroupRow) => ({
  object: 'group' as const,
  id,
  name,
  created_at: unixSeconds(created_at),
  scim_managed: false as const,
})

/** One form in the audit log, however it was asked for. */
const shownId = (id: string, place: RolePlace): string => predefined(id, place)?.id ?? id
