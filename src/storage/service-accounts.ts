/** Service accounts of projects. A deleted one stays as a row: keys and audit entries name it. */
import type { OrganizationId, ProjectId, ServiceAccountId } from '#contract/ids.ts'
import { only, type Queryable, sql } from './database.ts'
import { behindCursor, type Order, type Page, type PageRequest, rowsToRead, toPage } from './keyset.ts'

export type ServiceAccountRole = 'owner' | 'member' | 'none'
export type ServiceAccountRow = { id: ServiceAccountId; name: string; role: ServiceAccountRole; created_at: Date }

const columns = 'service_accounts.id, service_accounts.name, service_accounts.role, service_accounts.created_at'
const list = { table: 'service_accounts', columns: ['created_at', 'id'], id: 'id', within: 'c.project_id = $1' }
const accountsPage = (order: Order): string =>
  `select ${columns} from service_accounts where project_id = $1 and deleted_at is null
     and ${behindCursor(list, order, ['$2', '$3'])}`

export async function listServiceAccounts(
  database: Queryable,
  project: ProjectId,
  page: PageRequest,
): Promise<Page<ServiceAccountRow>> {
  const values = [project, page.after ?? null, rowsToRead(page)]
  return toPage(await database.query<ServiceAccountRow>(sql(accountsPage(page.order)), values), page)
}

export async function findServiceAccount(
  database: Queryable,
  project: ProjectId,
  id: string,
): Promise<ServiceAccountRow | undefined> {
  const text = `select ${columns} from service_accounts where project_id = $1 and id = $2 and deleted_at is null`
  const [row] = await database.query<ServiceAccountRow>(sql(text), [project, id])
  return row
}

/** Holds the account until the transaction ends, so that none gets a key while it is being deleted. */
export async function lockServiceAccount(
  tx: Queryable,
  project: ProjectId,
  id: string,
): Promise<ServiceAccountRow | undefined> {
  const text = `select ${columns} from service_accounts where project_id = $1 and id = $2 and deleted_at is null for share`
  const [row] = await tx.query<ServiceAccountRow>(sql(text), [project, id])
  return row
}

export type NewServiceAccount = {
  readonly id: ServiceAccountId
  readonly organizationId: OrganizationId
  readonly projectId: ProjectId
  readonly name: string
  readonly role: ServiceAccountRole
}

export async function insertServiceAccount(tx: Queryable, account: NewServiceAccount): Promise<ServiceAccountRow> {
  const { id, organizationId, projectId, name, role } = account
  const text = `insert into service_accounts (id, organization_id, project_id, name, role) values ($1, $2, $3, $4, $5)
    returning ${columns}`
  return only(await tx.query<ServiceAccountRow>(sql(text), [id, organizationId, projectId, name, role]))
}

/** What is undefined stays. */
export async function updateServiceAccount(
  tx: Queryable,
  project: ProjectId,
  { id, name, role }: { id: string; name: string | undefined; role: ServiceAccountRole | undefined },
): Promise<ServiceAccountRow | undefined> {
  const text = `update service_accounts set name = coalesce($3, name), role = coalesce($4, role)
    where project_id = $1 and id = $2 and deleted_at is null returning ${columns}`
  const [row] = await tx.query<ServiceAccountRow>(sql(text), [project, id, name, role])
  return row
}

/** With its keys and its roles. False when there is no such account. */
export async function deleteServiceAccount(tx: Queryable, project: ProjectId, id: string): Promise<boolean> {
  const text = `update service_accounts set deleted_at = now()
    where project_id = $1 and id = $2 and deleted_at is null returning id`
  const found = await tx.query(sql(text), [project, id])
  if (found.length === 0) return false
  const revoke = `update api_keys set revoked_at = now(), revoke_reason = 'its service account was deleted'
    where service_account_id = $1 and revoked_at is null`
  await tx.query(sql(revoke), [id])
  await tx.query(sql('delete from role_assignments where principal_id = $1'), [id])
  return true
}
