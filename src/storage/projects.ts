/** Projects: created, renamed, archived, never deleted. */
import type { OrganizationId, ProjectId } from '#contract/ids.ts'
import { only, type Queryable, sql } from './database.ts'
import { behindCursor, type Order, type Page, type PageRequest, rowsToRead, toPage } from './keyset.ts'

export type ProjectRow = { id: ProjectId; name: string; created_at: Date; archived_at: Date | null }

const columns = 'projects.id, projects.name, projects.created_at, projects.archived_at'
const projectList = { table: 'projects', columns: ['created_at', 'id'], id: 'id', within: 'c.organization_id = $1' }
const projectsPage = (order: Order): string =>
  `select ${columns} from projects where organization_id = $1 and ($2 or archived_at is null)
     and ${behindCursor(projectList, order, ['$3', '$4'])}`

export async function listProjects(
  database: Queryable,
  organization: OrganizationId,
  page: PageRequest & { readonly archivedToo: boolean },
): Promise<Page<ProjectRow>> {
  const values = [organization, page.archivedToo, page.after ?? null, rowsToRead(page)]
  return toPage(await database.query<ProjectRow>(sql(projectsPage(page.order)), values), page)
}

export async function findProject(
  database: Queryable,
  organization: OrganizationId,
  id: string,
): Promise<ProjectRow | undefined> {
  const text = `select ${columns} from projects where organization_id = $1 and id = $2`
  const [row] = await database.query<ProjectRow>(sql(text), [organization, id])
  return row
}

export async function insertProject(
  tx: Queryable,
  { id, organizationId, name }: { id: ProjectId; organizationId: OrganizationId; name: string },
): Promise<ProjectRow> {
  const text = `insert into projects (id, organization_id, name) values ($1, $2, $3) returning ${columns}`
  return only(await tx.query<ProjectRow>(sql(text), [id, organizationId, name]))
}

export async function renameProject(
  tx: Queryable,
  organization: OrganizationId,
  { id, name }: { id: string; name: string },
): Promise<ProjectRow | undefined> {
  const text = `update projects set name = $3 where organization_id = $1 and id = $2 returning ${columns}`
  const [row] = await tx.query<ProjectRow>(sql(text), [organization, id, name])
  return row
}

/** Archiving twice keeps the first time. */
export async function archiveProject(
  tx: Queryable,
  organization: OrganizationId,
  id: string,
): Promise<ProjectRow | undefined> {
  const text = `update projects set archived_at = coalesce(archived_at, now()) where organization_id = $1 and id = $2
    returning ${columns}`
  const [row] = await tx.query<ProjectRow>(sql(text), [organization, id])
  return row
}

/** Holds the project as it is until the transaction ends, so that no key appears in one that is being archived. */
export async function lockProject(
  tx: Queryable,
  organization: OrganizationId,
  id: string,
): Promise<ProjectRow | undefined> {
  const text = `select ${columns} from projects where organization_id = $1 and id = $2 for share`
  const [row] = await tx.query<ProjectRow>(sql(text), [organization, id])
  return row
}
