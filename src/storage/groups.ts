/** Groups, and who is in them. */
import type { OrganizationId, UserId } from '#contract/ids.ts'
import type { ProjectRole } from '#core/roles.ts'
import { only, type Queryable, sql } from './database.ts'
import { behindCursor, type Order, type Page, type PageRequest, rowsToRead, toPage } from './keyset.ts'

export type GroupRow = { id: string; name: string; created_at: Date }

const columns = 'groups.id, groups.name, groups.created_at'
const groupList = {
  table: 'groups',
  columns: ['created_at', 'id'],
  id: 'id',
  within: 'c.organization_id = $1',
  deletedWithin: '$1',
}
const groupsPage = (order: Order): string =>
  `select ${columns} from groups where organization_id = $1 and ${behindCursor(groupList, order, ['$2', '$3'])}`

export async function listGroups(
  database: Queryable,
  organization: OrganizationId,
  page: PageRequest,
): Promise<Page<GroupRow>> {
  const values = [organization, page.after ?? null, rowsToRead(page)]
  return toPage(await database.query<GroupRow>(sql(groupsPage(page.order)), values), page)
}

const groupById = sql(`select ${columns} from groups where organization_id = $1 and id = $2`)

export async function findGroup(
  database: Queryable,
  organization: OrganizationId,
  id: string,
): Promise<GroupRow | undefined> {
  const [row] = await database.query<GroupRow>(groupById, [organization, id])
  return row
}

/** Holds the group until the transaction ends, and what it gives with it: see `whatGroupGives`. */
export async function lockGroup(
  tx: Queryable,
  organization: OrganizationId,
  id: string,
): Promise<GroupRow | undefined> {
  const [row] = await tx.query<GroupRow>(sql(`${groupById.text} for no key update`), [organization, id])
  return row
}

export async function insertGroup(
  tx: Queryable,
  { id, organizationId, name }: { id: string; organizationId: OrganizationId; name: string },
): Promise<GroupRow> {
  const text = `insert into groups (id, organization_id, name) values ($1, $2, $3) returning ${columns}`
  return only(await tx.query<GroupRow>(sql(text), [id, organizationId, name]))
}

export async function renameGroup(
  tx: Queryable,
  organization: OrganizationId,
  { id, name }: { id: string; name: string },
): Promise<GroupRow | undefined> {
  const text = `update groups set name = $3 where organization_id = $1 and id = $2 returning ${columns}`
  const [row] = await tx.query<GroupRow>(sql(text), [organization, id, name])
  return row
}

/** With its memberships, its projects and its roles. */
export async function deleteGroup(
  tx: Queryable,
  organization: OrganizationId,
  id: string,
): Promise<GroupRow | undefined> {
  const text = `delete from groups where organization_id = $1 and id = $2 returning ${columns}`
  const [row] = await tx.query<GroupRow>(sql(text), [organization, id])
  if (row) await tx.query(sql('delete from role_assignments where principal_id = $1'), [row.id])
  return row
}

/** What every member has through the group: its roles in projects, and permissions of the roles that it was given. */
export async function whatGroupGives(
  tx: Queryable,
  id: string,
): Promise<{ projectRoles: ProjectRole[]; assigned: string[] }> {
  const text = `select array(select role from project_groups where group_id = $1) as "projectRoles",
    array(select unnest(coalesce(r.permissions, array[a.role_id])) from role_assignments a
      left join roles r on r.id = a.role_id where a.principal_id = $1) as assigned`
  return only(await tx.query<{ projectRoles: ProjectRole[]; assigned: string[] }>(sql(text), [id]))
}

export type GroupUserRow = { id: UserId; name: string; email: string | null; picture: string | null }

const selectMembers = `select u.id, u.name, u.email, u.picture
  from group_users join users u on u.id = group_users.user_id where group_users.group_id = $1`
const memberList = {
  table: 'group_users',
  columns: ['added_at', 'user_id'],
  id: 'user_id',
  within: 'c.group_id = $1',
  deletedWithin: '$1',
}
const membersPage = (order: Order): string => `${selectMembers} and ${behindCursor(memberList, order, ['$2', '$3'])}`

export async function listGroupUsers(
  database: Queryable,
  group: string,
  page: PageRequest,
): Promise<Page<GroupUserRow>> {
  const values = [group, page.after ?? null, rowsToRead(page)]
  return toPage(await database.query<GroupUserRow>(sql(membersPage(page.order)), values), page)
}

export async function findGroupUser(
  database: Queryable,
  group: string,
  user: string,
): Promise<GroupUserRow | undefined> {
  const text = `${selectMembers} and group_users.user_id = $2`
  const [row] = await database.query<GroupUserRow>(sql(text), [group, user])
  return row
}

/** False when the person is in the group already. */
export async function insertGroupUser(tx: Queryable, group: string, user: UserId): Promise<boolean> {
  const text = 'insert into group_users (group_id, user_id) values ($1, $2) on conflict do nothing returning user_id'
  return (await tx.query(sql(text), [group, user])).length > 0
}

/** False where there was no membership. */
export async function deleteGroupUser(tx: Queryable, group: string, user: string): Promise<boolean> {
  const text = 'delete from group_users where group_id = $1 and user_id = $2 returning user_id'
  return (await tx.query(sql(text), [group, user])).length > 0
}
