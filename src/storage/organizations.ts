/** Organizations and the people in them: as much of both as a first start makes. */
import type { OrganizationId, UserId } from '#contract/ids.ts'
import { only, type Queryable, sql } from './database.ts'

const firstStartLock = 4150927003

/** False when there is an organization already. Nodes that start together wait here for one another. */
export async function lockFirstStart(tx: Queryable): Promise<boolean> {
  await tx.query(sql('select pg_advisory_xact_lock($1)'), [firstStartLock])
  const row = only(
    await tx.query<{ empty: boolean }>(sql('select not exists (select from organizations) as empty'), []),
  )
  return row.empty
}

/** With its two ledger accounts: what it can spend, and what nodes have reserved of that. */
export async function insertOrganization(
  tx: Queryable,
  { id, name, isOperator }: { id: OrganizationId; name: string; isOperator: boolean },
): Promise<void> {
  await tx.query(sql('insert into organizations (id, name, is_operator) values ($1, $2, $3)'), [id, name, isOperator])
  await tx.query(
    sql(`insert into ledger_accounts (id, organization_id, kind)
         values ($1 || '/credit', $1, 'credit'), ($1 || '/leased', $1, 'leased')`),
    [id],
  )
}

export async function insertUser(
  tx: Queryable,
  user: { id: UserId; organizationId: OrganizationId; name: string; role: 'owner' | 'reader' },
): Promise<void> {
  await tx.query(sql('insert into users (id, organization_id, name, role) values ($1, $2, $3, $4)'), [
    user.id,
    user.organizationId,
    user.name,
    user.role,
  ])
}

/** Whoever has owned the organization the longest. */
export async function firstOwner(database: Queryable, organization: OrganizationId): Promise<UserId | undefined> {
  const text = `select id from users where organization_id = $1 and role = 'owner' and removed_at is null
    order by created_at, id limit 1`
  const [row] = await database.query<{ id: UserId }>(sql(text), [organization])
  return row?.id
}

export async function organizationName(database: Queryable, id: OrganizationId): Promise<string> {
  const rows = await database.query<{ name: string }>(sql('select name from organizations where id = $1'), [id])
  return only(rows).name
}

export async function findOrganization(database: Queryable, id: string): Promise<OrganizationId | undefined> {
  const [row] = await database.query<{ id: OrganizationId }>(sql('select id from organizations where id = $1'), [id])
  return row?.id
}

export async function operatorOrganization(database: Queryable): Promise<OrganizationId | undefined> {
  const [row] = await database.query<{ id: OrganizationId }>(sql('select id from organizations where is_operator'))
  return row?.id
}

/** Lets one change at a time decide about what is true of the organization as a whole: its last owner, a name taken. */
export async function lockOrganization(tx: Queryable, id: OrganizationId): Promise<void> {
  await tx.query(sql('select from organizations where id = $1 for no key update'), [id])
}
