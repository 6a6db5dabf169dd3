/** Spend alerts of organizations and projects. */
import type { OrganizationId, ProjectId } from '#contract/ids.ts'
import { only, type Queryable, sql } from './database.ts'
import { behindCursor, type Order, type Page, type PageRequest, rowsToRead, toPage } from './keyset.ts'

export type SpendAlertRow = {
  id: string
  /** Null where it is a share of the spend limit. */
  threshold_cents: bigint | null
  threshold_percent: number | null
  recipients: string[]
  subject_prefix: string | null
  last_fired_at: Date | null
}

export type SpendAlertDraft = {
  /** One of the two. */
  readonly cents: number | null
  readonly percent: number | null
  readonly recipients: readonly string[]
  readonly subjectPrefix: string | null
}

type Scope = OrganizationId | ProjectId

const columns = 'id, threshold_cents, threshold_percent, recipients, subject_prefix, last_fired_at'
const alertList = {
  table: 'spend_alerts',
  columns: ['created_at', 'id'],
  id: 'id',
  within: 'c.scope_id = $1',
  deletedWithin: '$1',
}
const alertsPage = (order: Order): string =>
  `select ${columns} from spend_alerts where scope_id = $1 and ${behindCursor(alertList, order, ['$2', '$3'])}`

/** The page behind `after`, or the one in front of `before`, which is read backwards from there. */
export async function listSpendAlerts(
  database: Queryable,
  scope: Scope,
  page: PageRequest & { readonly before?: string | undefined },
): Promise<Page<SpendAlertRow>> {
  const backwards = page.before !== undefined
  const order = backwards ? (page.order === 'asc' ? 'desc' : 'asc') : page.order
  const values = [scope, page.before ?? page.after ?? null, rowsToRead(page)]
  const { rows, hasMore } = toPage(await database.query<SpendAlertRow>(sql(alertsPage(order)), values), page)
  return { rows: backwards ? rows.toReversed() : rows, hasMore }
}

export async function findSpendAlert(
  database: Queryable,
  scope: Scope,
  id: string,
): Promise<SpendAlertRow | undefined> {
  const text = `select ${columns} from spend_alerts where scope_id = $1 and id = $2`
  const [row] = await database.query<SpendAlertRow>(sql(text), [scope, id])
  return row
}

/** Locks nothing: two who create at once may both be counted short by one. */
export async function countSpendAlerts(tx: Queryable, scope: Scope): Promise<number> {
  const text = 'select count(*) as count from spend_alerts where scope_id = $1'
  return Number(only(await tx.query<{ count: bigint }>(sql(text), [scope])).count)
}

export async function insertSpendAlert(
  tx: Queryable,
  scope: Scope,
  { id, cents, percent, recipients, subjectPrefix }: SpendAlertDraft & { readonly id: string },
): Promise<SpendAlertRow> {
  const text = `insert into spend_alerts (id, scope_id, threshold_cents, threshold_percent, recipients, subject_prefix)
    values ($1, $2, $3, $4, $5, $6) returning ${columns}`
  return only(await tx.query<SpendAlertRow>(sql(text), [id, scope, cents, percent, recipients, subjectPrefix]))
}

export async function replaceSpendAlert(
  tx: Queryable,
  scope: Scope,
  { id, cents, percent, recipients, subjectPrefix }: SpendAlertDraft & { readonly id: string },
): Promise<SpendAlertRow | undefined> {
  const text = `update spend_alerts set threshold_cents = $3, threshold_percent = $4, recipients = $5, subject_prefix = $6
    where scope_id = $1 and id = $2 returning ${columns}`
  const [row] = await tx.query<SpendAlertRow>(sql(text), [scope, id, cents, percent, recipients, subjectPrefix])
  return row
}

export async function deleteSpendAlert(tx: Queryable, scope: Scope, id: string): Promise<boolean> {
  const text = 'delete from spend_alerts where scope_id = $1 and id = $2 returning id'
  return (await tx.query(sql(text), [scope, id])).length > 0
}
