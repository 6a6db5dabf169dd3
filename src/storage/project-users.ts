/** Who is a member of which project. */
import type { OrganizationId, ProjectId, UserId } from '#contract/ids.ts'
import type { ProjectRole } from '#core/roles.ts'
import { type Queryable, sql } from './database.ts'
import { behindCursor, type Order, type Page, type PageRequest, rowsToRead, toPage } from './keyset.ts'

export type ProjectUserRow = {
  id: UserId
  name: string
  email: string | null
  role: ProjectRole
  /** The one that was named as the role of the membership. */
  custom_role: string | null
  added_at: Date
}

const customRole = (membership: string): string => `(select a.role_id from role_assignments a
  where a.principal_id = ${membership}.user_id and a.project_id = ${membership}.project_id and a.of_membership)`

/** As callers name it. */
export const shownRole = (membership: string): string => `coalesce(${customRole(membership)}, ${membership}.role)`

const selectMembers = `select u.id, u.name, u.email, project_users.role, ${customRole('project_users')} as custom_role, project_users.added_at
  from project_users join users u on u.id = project_users.user_id where project_users.project_id = $1`
const memberList = {
  table: 'project_users',
  columns: ['added_at', 'user_id'],
  id: 'user_id',
  within: 'c.project_id = $1',
  deletedWithin: '$1',
}
const membersPage = (order: Order): string => `${selectMembers} and ${behindCursor(memberList, order, ['$2', '$3'])}`

export async function listProjectUsers(
  database: Queryable,
  project: ProjectId,
  page: PageRequest,
): Promise<Page<ProjectUserRow>> {
  const values = [project, page.after ?? null, rowsToRead(page)]
  return toPage(await database.query<ProjectUserRow>(sql(membersPage(page.order)), values), page)
}

export async function findProjectUser(
  database: Queryable,
  project: ProjectId,
  user: string,
): Promise<ProjectUserRow | undefined> {
  const text = `${selectMembers} and project_users.user_id = $2`
  const [row] = await database.query<ProjectUserRow>(sql(text), [project, user])
  return row
}

/** Holds the membership until the transaction ends. */
export async function lockProjectUser(
  tx: Queryable,
  project: ProjectId,
  user: string,
): Promise<ProjectUserRow | undefined> {
  const text = `${selectMembers} and project_users.user_id = $2 for no key update of project_users`
  const [row] = await tx.query<ProjectUserRow>(sql(text), [project, user])
  return row
}

export type Membership = { readonly project: ProjectId; readonly user: string; readonly role: ProjectRole }

/** False when the person is a member already. */
export async function insertProjectUser(tx: Queryable, { project, user, role }: Membership): Promise<boolean> {
  const text = `insert into project_users (project_id, user_id, role) values ($1, $2, $3)
    on conflict do nothing returning user_id`
  return (await tx.query(sql(text), [project, user, role])).length > 0
}

export async function updateProjectUser(tx: Queryable, { project, user, role }: Membership): Promise<void> {
  await tx.query(sql('update project_users set role = $3 where project_id = $1 and user_id = $2'), [
    project,
    user,
    role,
  ])
}

/** With the roles that the person was given in the project. False where there was no membership. */
export async function deleteProjectUser(tx: Queryable, project: ProjectId, user: string): Promise<boolean> {
  const text = 'delete from project_users where project_id = $1 and user_id = $2 returning user_id'
  const found = (await tx.query(sql(text), [project, user])).length > 0
  await tx.query(sql('delete from role_assignments where principal_id = $2 and project_id = $1'), [project, user])
  return found
}

/** Memberships that an invitation promised, in those of the projects that are still active. */
export async function insertMemberships(
  tx: Queryable,
  organization: OrganizationId,
  user: UserId,
  memberships: readonly { readonly id: string; readonly role: string }[],
): Promise<void> {
  await tx.query(
    sql(`insert into project_users (project_id, user_id, role)
         select p.id, $2, m.role from jsonb_to_recordset($3) as m(id text, role text) join projects p on p.id = m.id
         where p.organization_id = $1 and p.archived_at is null on conflict do nothing`),
    [organization, user, JSON.stringify(memberships)],
  )
}
