/** Certificates for mutual TLS, and where each is active. What the gateway reads of them is in grants.ts. */
import type { OrganizationId, ProjectId } from '#contract/ids.ts'
import { only, type Queryable, sql } from './database.ts'
import { behindCursor, type Order, type Page, type PageRequest, rowsToRead, toPage } from './keyset.ts'

export type CertificateRow = {
  id: string
  name: string | null
  content: string
  valid_at: Date
  expires_at: Date
  created_at: Date
  /** In the scope that was asked about. */
  active: boolean
}

type Scope = OrganizationId | ProjectId

/** $2 is the scope: the organization itself, or one of its projects. */
const selectCertificates = `select certificates.id, certificates.name, certificates.content, certificates.valid_at,
    certificates.expires_at, certificates.created_at,
    exists (select from certificate_activations a where a.certificate_id = certificates.id and a.scope_id = $2) as active
  from certificates where certificates.organization_id = $1`

const certificateList = {
  table: 'certificates',
  columns: ['created_at', 'id'],
  id: 'id',
  within: 'c.organization_id = $1',
  deletedWithin: '$1',
}
const certificatesPage = (order: Order): string =>
  `${selectCertificates} and ${behindCursor(certificateList, order, ['$3', '$4'])}`

export async function listCertificates(
  database: Queryable,
  organization: OrganizationId,
  scope: Scope,
  page: PageRequest,
): Promise<Page<CertificateRow>> {
  const values = [organization, scope, page.after ?? null, rowsToRead(page)]
  return toPage(await database.query<CertificateRow>(sql(certificatesPage(page.order)), values), page)
}

/** Those of the organization that have these ids, in no order. */
export function findCertificates(
  database: Queryable,
  organization: OrganizationId,
  scope: Scope,
  ids: readonly string[],
): Promise<CertificateRow[]> {
  const text = `${selectCertificates} and certificates.id = any ($3)`
  return database.query<CertificateRow>(sql(text), [organization, scope, ids])
}

export type NewCertificate = {
  readonly id: string
  readonly organizationId: OrganizationId
  readonly name: string | null
  readonly content: string
  readonly fingerprint: string
  readonly validAt: Date
  readonly expiresAt: Date
}

/** False when the organization has this very certificate already. */
export async function insertCertificate(tx: Queryable, certificate: NewCertificate): Promise<boolean> {
  const text = `insert into certificates (id, organization_id, name, content, fingerprint_sha256, valid_at, expires_at)
    values ($1, $2, $3, $4, $5, $6, $7) on conflict (organization_id, fingerprint_sha256) do nothing returning id`
  const { id, organizationId, name, content, fingerprint, validAt, expiresAt } = certificate
  const values = [id, organizationId, name, content, fingerprint, validAt, expiresAt]
  return (await tx.query(sql(text), values)).length > 0
}

/** Locks the organization's certificates until the transaction ends: one change of them at a time. */
export async function lockCertificates(tx: Queryable, organization: OrganizationId): Promise<void> {
  await tx.query(sql('select from organizations where id = $1 for no key update'), [organization])
}

export async function countCertificates(tx: Queryable, organization: OrganizationId): Promise<number> {
  const text = 'select count(*) as count from certificates where organization_id = $1'
  return Number(only(await tx.query<{ count: bigint }>(sql(text), [organization])).count)
}

export async function renameCertificate(tx: Queryable, id: string, name: string): Promise<void> {
  await tx.query(sql('update certificates set name = $2 where id = $1'), [id, name])
}

export async function deleteCertificate(tx: Queryable, id: string): Promise<void> {
  await tx.query(sql('delete from certificates where id = $1'), [id])
}

/** Organization and project ids. */
export async function scopesWhereActive(tx: Queryable, id: string): Promise<string[]> {
  const text = 'select scope_id from certificate_activations where certificate_id = $1 order by scope_id'
  return (await tx.query<{ scope_id: string }>(sql(text), [id])).map(row => row.scope_id)
}

export async function activateCertificates(tx: Queryable, scope: Scope, ids: readonly string[]): Promise<void> {
  const text = `insert into certificate_activations (certificate_id, scope_id) select unnest($2::text[]), $1
    on conflict do nothing`
  await tx.query(sql(text), [scope, ids])
}

export async function deactivateCertificates(tx: Queryable, scope: Scope, ids: readonly string[]): Promise<void> {
  const text = 'delete from certificate_activations where scope_id = $1 and certificate_id = any ($2)'
  await tx.query(sql(text), [scope, ids])
}
