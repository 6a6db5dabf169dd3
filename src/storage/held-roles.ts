/** What a person was given, whichever key they use: by membership, by assignment, and through groups. */
import type { OrganizationId } from '#contract/ids.ts'
import type { HeldRoles, OrganizationRole, ProjectRole } from '#core/roles.ts'
import { prepared, type Queryable } from './database.ts'

type HeldRow = { organization_role: OrganizationRole; project_roles: ProjectRole[]; assigned: string[] }

const heldRolesOf = prepared(
  'held_roles',
  `with held as (select $2::text as principal_id union all select group_id from group_users where user_id = $2)
   select u.role as organization_role,
     array(select role from project_users where project_id = $3 and user_id = $2
       union all select g.role from project_groups g join held on held.principal_id = g.group_id where g.project_id = $3)
       as project_roles,
     array(select unnest(coalesce(r.permissions, array[a.role_id]))
       from role_assignments a join held using (principal_id) left join roles r on r.id = a.role_id
       where a.organization_id = $1 and (a.project_id is null or a.project_id = $3)) as assigned
   from users u where u.organization_id = $1 and u.id = $2 and u.removed_at is null`,
)

/** @param project where; null: in the organization alone. Undefined for somebody who left, or never was there. */
export async function findHeldRoles(
  database: Queryable,
  { organizationId, userId, project }: { organizationId: OrganizationId; userId: string; project: string | null },
): Promise<HeldRoles | undefined> {
  const [row] = await database.query<HeldRow>(heldRolesOf, [organizationId, userId, project])
  if (!row) return undefined
  return { organizationRole: row.organization_role, projectRoles: row.project_roles, assigned: row.assigned }
}
