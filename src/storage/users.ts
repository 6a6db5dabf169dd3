/** The people of an organization. Whoever is removed keeps the row, since keys and usage name it, and nothing else. */
import type { OrganizationId, UserId } from '#contract/ids.ts'
import type { OrganizationRole } from '#core/roles.ts'
import { only, type Queryable, sql } from './database.ts'
import { behindCursor, type Order, type Page, type PageRequest, rowsToRead, toPage } from './keyset.ts'
import { shownRole } from './project-users.ts'

export type UserRow = {
  id: UserId
  name: string
  email: string | null
  role: OrganizationRole
  picture: string | null
  technical_level: string | null
  developer_persona: string | null
  created_at: Date
}

const columns = `users.id, users.name, users.email, users.role, users.picture, users.technical_level,
  users.developer_persona, users.created_at`
const inOrganization = (row: string): string => `${row}.organization_id = $1 and ${row}.removed_at is null`
// Whoever was removed since the page before still says where the next one begins
const userList = { table: 'users', columns: ['created_at', 'id'], id: 'id', within: 'c.organization_id = $1' }
/** Found by its own index: the planner would rather read everybody in the order of the list than trust it. */
const withEmails = `array(select e.id from users e where ${inOrganization('e')}
  and e.email is not null and lower(e.email) = any($2))`
const usersPage = (order: Order): string =>
  `select ${columns} from users where ${inOrganization('users')} and ($2::text[] is null or users.id = any(${withEmails}))
     and ${behindCursor(userList, order, ['$3', '$4'])}`

/** @param page its `emails`, where given, are the only ones that are listed; case does not matter */
export async function listUsers(
  database: Queryable,
  organization: OrganizationId,
  page: PageRequest & { readonly emails?: readonly string[] | undefined },
): Promise<Page<UserRow>> {
  const emails = page.emails?.map(email => email.toLowerCase()) ?? null
  const values = [organization, emails, page.after ?? null, rowsToRead(page)]
  return toPage(await database.query<UserRow>(sql(usersPage(page.order)), values), page)
}

const userById = sql(`select ${columns} from users where ${inOrganization('users')} and id = $2`)

export async function findUser(
  database: Queryable,
  organization: OrganizationId,
  id: string,
): Promise<UserRow | undefined> {
  const [row] = await database.query<UserRow>(userById, [organization, id])
  return row
}

export async function findUserByEmail(
  database: Queryable,
  organization: OrganizationId,
  email: string,
): Promise<UserRow | undefined> {
  const text = `select ${columns} from users where ${inOrganization('users')}
    and email is not null and lower(email) = lower($2)`
  const [row] = await database.query<UserRow>(sql(text), [organization, email])
  return row
}

/** Holds the person as they are until the transaction ends, so that nobody who is being removed is given anything. */
export async function lockUser(tx: Queryable, organization: OrganizationId, id: string): Promise<UserRow | undefined> {
  const [row] = await tx.query<UserRow>(sql(`${userById.text} for no key update`), [organization, id])
  return row
}

export type UserDetails = { last_used_at: Date | null; projects: { id: string; name: string; role: string }[] }

export async function describeUser(database: Queryable, id: UserId): Promise<UserDetails> {
  const text = `select (select max(last_used_at) from api_keys where owner_user_id = $1) as last_used_at,
    array(select jsonb_build_object('id', p.id, 'name', p.name, 'role', ${shownRole('m')})
      from project_users m join projects p on p.id = m.project_id
      where m.user_id = $1 and p.archived_at is null order by m.added_at, p.id limit 100) as projects`
  return only(await database.query<UserDetails>(sql(text), [id]))
}

export type UserSettings = Pick<UserRow, 'role' | 'technical_level' | 'developer_persona'>

export async function updateUser(tx: Queryable, id: UserId, settings: UserSettings): Promise<UserRow> {
  const text = `update users set role = $2, technical_level = $3, developer_persona = $4 where id = $1 returning ${columns}`
  const values = [id, settings.role, settings.technical_level, settings.developer_persona]
  return only(await tx.query<UserRow>(sql(text), values))
}

/** Ends everything that the person was given. Their keys stay, as keys of somebody who left. */
export async function removeUser(tx: Queryable, id: UserId): Promise<void> {
  await tx.query(sql('update users set removed_at = now() where id = $1'), [id])
  await tx.query(sql('delete from project_users where user_id = $1'), [id])
  await tx.query(sql('delete from group_users where user_id = $1'), [id])
  await tx.query(sql('delete from role_assignments where principal_id = $1'), [id])
}

/** To be asked while the organization is locked. */
export async function countOtherOwners(tx: Queryable, organization: OrganizationId, id: string): Promise<number> {
  const text = `select count(*) as count from users where organization_id = $1 and removed_at is null
    and role = 'owner' and id <> $2`
  return Number(only(await tx.query<{ count: bigint }>(sql(text), [organization, id])).count)
}

export type NewMember = Pick<UserRow, 'id' | 'name' | 'email' | 'role'> & { readonly organizationId: OrganizationId }

/** Undefined when somebody of the organization has this e-mail address. */
export async function insertMember(tx: Queryable, user: NewMember): Promise<UserRow | undefined> {
  const text = `insert into users (id, organization_id, name, email, role) values ($1, $2, $3, $4, $5)
    on conflict do nothing returning ${columns}`
  const values = [user.id, user.organizationId, user.name, user.email, user.role]
  const [row] = await tx.query<UserRow>(sql(text), values)
  return row
}
