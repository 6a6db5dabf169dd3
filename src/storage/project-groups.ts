/** Which groups have access to which project. */
import type { ProjectId } from '#contract/ids.ts'
import type { ProjectRole } from '#core/roles.ts'
import { type Queryable, sql } from './database.ts'
import { behindCursor, type Order, type Page, type PageRequest, rowsToRead, toPage } from './keyset.ts'

export type ProjectGroupRow = { group_id: string; group_name: string; role: ProjectRole; created_at: Date }

const selectGroups = `select project_groups.group_id, g.name as group_name, project_groups.role,
    project_groups.created_at
  from project_groups join groups g on g.id = project_groups.group_id where project_groups.project_id = $1`
const projectGroupList = {
  table: 'project_groups',
  columns: ['created_at', 'group_id'],
  id: 'group_id',
  within: 'c.project_id = $1',
  deletedWithin: '$1',
}
const groupsPage = (order: Order): string =>
  `${selectGroups} and ${behindCursor(projectGroupList, order, ['$2', '$3'])}`

export async function listProjectGroups(
  database: Queryable,
  project: ProjectId,
  page: PageRequest,
): Promise<Page<ProjectGroupRow>> {
  const values = [project, page.after ?? null, rowsToRead(page)]
  return toPage(await database.query<ProjectGroupRow>(sql(groupsPage(page.order)), values), page)
}

export async function findProjectGroup(
  database: Queryable,
  project: ProjectId,
  group: string,
): Promise<ProjectGroupRow | undefined> {
  const text = `${selectGroups} and project_groups.group_id = $2`
  const [row] = await database.query<ProjectGroupRow>(sql(text), [project, group])
  return row
}

/** False when the group has access already. */
export async function insertProjectGroup(
  tx: Queryable,
  { project, group, role }: { project: ProjectId; group: string; role: ProjectRole },
): Promise<boolean> {
  const text = `insert into project_groups (project_id, group_id, role) values ($1, $2, $3)
    on conflict do nothing returning group_id`
  return (await tx.query(sql(text), [project, group, role])).length > 0
}

/** With the roles that the group was given in the project. False where it had no access. */
export async function deleteProjectGroup(tx: Queryable, project: ProjectId, group: string): Promise<boolean> {
  const text = 'delete from project_groups where project_id = $1 and group_id = $2 returning group_id'
  const found = (await tx.query(sql(text), [project, group])).length > 0
  await tx.query(sql('delete from role_assignments where principal_id = $2 and project_id = $1'), [project, group])
  return found
}
