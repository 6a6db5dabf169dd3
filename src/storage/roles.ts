/** Roles that people made, of the organization or of one project. The predefined ones are in core/roles.ts. */
import type { OrganizationId, ProjectId, UserId } from '#contract/ids.ts'
import { only, type Queryable, sql } from './database.ts'
import { behindCursor, type Order, type PageRequest, rowsToRead } from './keyset.ts'

export type RoleRow = { id: string; name: string; description: string | null; permissions: string[] }

/** Where a role lives: the organization, or one project of it. Elsewhere it does not exist. */
export type RolePlace = { readonly organizationId: OrganizationId; readonly projectId: ProjectId | null }

const columns = 'roles.id, roles.name, roles.description, roles.permissions'
const inPlace = (row: string): string => `${row}.organization_id = $1 and coalesce(${row}.project_id, '') = $2`
const roleList = {
  table: 'roles',
  columns: ['created_at', 'id'],
  id: 'id',
  within: inPlace('c'),
  deletedWithin: '$1 || $2',
}
const rolesPage = (order: Order): string =>
  `select ${columns} from roles where ${inPlace('roles')} and ${behindCursor(roleList, order, ['$3', '$4'])}`

const valuesOf = ({ organizationId, projectId }: RolePlace): string[] => [organizationId, projectId ?? '']

/** One row more than the page holds, where there is one. */
export const readRoles = (database: Queryable, place: RolePlace, page: PageRequest): Promise<RoleRow[]> =>
  database.query<RoleRow>(sql(rolesPage(page.order)), [...valuesOf(place), page.after ?? null, rowsToRead(page)])

const roleById = sql(`select ${columns} from roles where ${inPlace('roles')} and id = $3`)

export async function findRole(database: Queryable, place: RolePlace, id: string): Promise<RoleRow | undefined> {
  const [row] = await database.query<RoleRow>(roleById, [...valuesOf(place), id])
  return row
}

/** Holds the role as it is until the transaction ends. */
export async function lockRole(tx: Queryable, place: RolePlace, id: string): Promise<RoleRow | undefined> {
  const [row] = await tx.query<RoleRow>(sql(`${roleById.text} for no key update`), [...valuesOf(place), id])
  return row
}

/** To be asked while the organization is locked. @param except the role that is being renamed */
export async function isRoleNameTaken(
  tx: Queryable,
  place: RolePlace,
  { name, except }: { readonly name: string; readonly except: string | null },
): Promise<boolean> {
  const text = `select from roles where ${inPlace('roles')} and lower(name) = lower($3) and id is distinct from $4`
  return (await tx.query(sql(text), [...valuesOf(place), name, except])).length > 0
}

export async function insertRole(
  tx: Queryable,
  place: RolePlace,
  role: RoleRow & { readonly createdBy: UserId | null },
): Promise<RoleRow> {
  const text = `insert into roles (id, organization_id, project_id, name, description, permissions, created_by)
    values ($1, $2, $3, $4, $5, $6, $7) returning ${columns}`
  const { id, name, description, permissions, createdBy } = role
  const values = [id, place.organizationId, place.projectId, name, description, permissions, createdBy]
  return only(await tx.query<RoleRow>(sql(text), values))
}

export async function updateRole(tx: Queryable, role: RoleRow): Promise<void> {
  const text = 'update roles set name = $2, description = $3, permissions = $4, updated_at = now() where id = $1'
  await tx.query(sql(text), [role.id, role.name, role.description, role.permissions])
}

/** Takes it from everybody who has it. Whoever assigns it holds its row, so that none is left over. */
export async function deleteRole(tx: Queryable, id: string): Promise<void> {
  await tx.query(sql('delete from roles where id = $1'), [id])
  await tx.query(sql('delete from role_assignments where role_id = $1'), [id])
}
