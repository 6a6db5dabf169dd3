/** Who was given which role. A person has those of their groups too. */
import { type Queryable, sql } from './database.ts'
import { livingOrDeleted, type Page, type PageRequest, rowsToRead, toPage } from './keyset.ts'
import type { RolePlace } from './roles.ts'

export type Principal = { readonly kind: 'user' | 'group'; readonly id: string }

/** Everything about the role itself is null where it is a predefined one. */
export type AssignedRoleRow = {
  role_id: string
  name: string | null
  description: string | null
  permissions: string[] | null
  created_at: Date | null
  updated_at: Date | null
  created_by: string | null
  creator_name: string | null
  creator_email: string | null
  /** Those through which a person has the role. */
  groups: string[]
}

const inPlace = (row: string): string =>
  `${row}.organization_id = $1 and coalesce(${row}.project_id, '') = $2
     and ${row}.principal_id = any(array(select $3 union all select gu.group_id from group_users gu where gu.user_id = $3))`

// A principal has a handful of roles: they are grouped and sorted anew for each page
const selectAssigned = `with assigned as (
    select a.role_id, min(a.created_at) as given_at,
      array_remove(array_agg(case when a.principal_id <> $3 then a.principal_id end order by a.principal_id), null) as groups
    from role_assignments a where ${inPlace('a')} group by a.role_id)
  select assigned.role_id, assigned.groups, r.name, r.description, r.permissions, r.created_at, r.updated_at,
    r.created_by, u.name as creator_name, u.email as creator_email
  from assigned left join roles r on r.id = assigned.role_id left join users u on u.id = r.created_by`

const behind = livingOrDeleted(
  'select c.given_at, c.role_id from assigned c where c.role_id = $4',
  'role_assignments',
  '$1 || $2 || $3',
  '$4',
)

const valuesOf = ({ organizationId, projectId }: RolePlace, { id }: Principal): string[] => [
  organizationId,
  projectId ?? '',
  id,
]

export async function listAssignedRoles(
  database: Queryable,
  place: RolePlace,
  principal: Principal,
  page: PageRequest,
): Promise<Page<AssignedRoleRow>> {
  const { order } = page
  const text = `${selectAssigned} where $4::text is null or (assigned.given_at, assigned.role_id)
      ${order === 'asc' ? '>' : '<'} ${behind}
    order by assigned.given_at ${order}, assigned.role_id ${order} limit $5`
  const values = [...valuesOf(place, principal), page.after ?? null, rowsToRead(page)]
  return toPage(await database.query<AssignedRoleRow>(sql(text), values), page)
}

export async function findAssignedRole(
  database: Queryable,
  place: RolePlace,
  principal: Principal,
  roleId: string,
): Promise<AssignedRoleRow | undefined> {
  const text = `${selectAssigned} where assigned.role_id = $4`
  const [row] = await database.query<AssignedRoleRow>(sql(text), [...valuesOf(place, principal), roleId])
  return row
}

/** False when the principal itself has the role already. */
export async function insertAssignment(
  tx: Queryable,
  { organizationId, projectId }: RolePlace,
  { kind, id }: Principal,
  roleId: string,
): Promise<boolean> {
  const text = `insert into role_assignments (role_id, organization_id, project_id, principal_kind, principal_id)
    values ($1, $2, $3, $4, $5) on conflict do nothing returning role_id`
  return (await tx.query(sql(text), [roleId, organizationId, projectId, kind, id])).length > 0
}

/**
 * Makes this the one custom role that a membership carries; null: none. What was assigned besides stays.
 * @returns those that it carried until now, and whether the role is new to the principal
 */
export async function setMembershipRole(
  tx: Queryable,
  place: RolePlace,
  principal: Principal,
  roleId: string | null,
): Promise<{ readonly taken: string[]; readonly isNew: boolean }> {
  const held = `organization_id = $1 and coalesce(project_id, '') = $2 and principal_id = $3`
  const values = [...valuesOf(place, principal), roleId]
  const gone = `delete from role_assignments where ${held} and of_membership and role_id is distinct from $4 returning role_id`
  const taken = (await tx.query<{ role_id: string }>(sql(gone), values)).map(row => row.role_id)
  if (roleId === null) return { taken, isNew: false }
  const isNew = await insertAssignment(tx, place, principal, roleId)
  await tx.query(sql(`update role_assignments set of_membership = true where ${held} and role_id = $4`), values)
  return { taken, isNew }
}

/** False when the principal itself does not have it, whatever its groups have. */
export async function deleteAssignment(
  tx: Queryable,
  { organizationId, projectId }: RolePlace,
  { id }: Principal,
  roleId: string,
): Promise<boolean> {
  const text = `delete from role_assignments where organization_id = $1 and coalesce(project_id, '') = $2
    and principal_id = $3 and role_id = $4 returning role_id`
  return (await tx.query(sql(text), [organizationId, projectId ?? '', id, roleId])).length > 0
}
