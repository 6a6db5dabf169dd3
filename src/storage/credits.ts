/** Credit of an organization: two accounts of the ledger, and the grants that it came in. */
import type { OrganizationId } from '#contract/ids.ts'
import type { CreditKind } from '#core/credit.ts'
import { type NanoUsd, nanoUsd } from '#core/money.ts'
import { only, type Queryable, sql } from './database.ts'
import { behindCursor, type Order, type Page, type PageRequest, rowsToRead, toPage } from './keyset.ts'

export type CreditStatus = 'active' | 'spent' | 'expired' | 'revoked'

export type CreditBalance = {
  readonly available: NanoUsd
  readonly reserved: NanoUsd
}

const ended = '(expires_at <= now() or revoked_at is not null)'

/** Both in one snapshot. What has ended and waits to be taken is not available. */
export async function readCredit(database: Queryable, organization: OrganizationId): Promise<CreditBalance> {
  const text = `select credit - least(credit, ended) as available, reserved from (
    select coalesce(sum(balance_nano_usd) filter (where kind = 'credit'), 0)::bigint as credit,
      coalesce(sum(balance_nano_usd) filter (where kind = 'leased'), 0)::bigint as reserved,
      coalesce((select sum(remaining_nano_usd) from credit_grants
        where organization_id = $1 and remaining_nano_usd > 0 and ${ended}), 0)::bigint as ended
    from ledger_accounts where organization_id = $1) accounts`
  const row = only(await database.query<{ available: bigint; reserved: bigint }>(sql(text), [organization]))
  return { available: nanoUsd(row.available), reserved: nanoUsd(row.reserved) }
}

/** Whether there is a grant that was not revoked, spent or not. */
export async function hasHadCredit(database: Queryable, organization: OrganizationId): Promise<boolean> {
  const text = `select exists (select from credit_grants where organization_id = $1 and revoked_at is null) as found`
  return only(await database.query<{ found: boolean }>(sql(text), [organization])).found
}

export type OpenCredit = { readonly kind: CreditKind; readonly amount: bigint; readonly expires_at: Date | null }

/** What remains of the grants that have not ended, by kind and end, the soonest end first. */
export async function openCredit(database: Queryable, organization: OrganizationId): Promise<OpenCredit[]> {
  const text = `select kind, expires_at, sum(remaining_nano_usd)::bigint as amount from credit_grants
    where organization_id = $1 and remaining_nano_usd > 0 and not coalesce(${ended}, false)
    group by kind, expires_at order by expires_at, kind`
  return database.query<OpenCredit>(sql(text), [organization])
}

export type CreditGrantRow = {
  id: string
  organization_id: OrganizationId
  kind: CreditKind
  amount_nano_usd: bigint
  remaining_nano_usd: bigint
  ended_nano_usd: bigint
  priority: number
  expires_at: Date | null
  revoked_at: Date | null
  reference: string
  note: string | null
  created_at: Date
  status: CreditStatus
}

/** One that was spent to the end stays so, whatever its time says; revoked is what somebody did to it. */
const status = `case when revoked_at is not null then 'revoked'
  when remaining_nano_usd = 0 and ended_nano_usd = 0 then 'spent'
  when expires_at <= now() then 'expired' else 'active' end`
const columns = `id, organization_id, kind, amount_nano_usd, remaining_nano_usd, ended_nano_usd, priority, expires_at,
  revoked_at, reference, note, created_at, ${status} as status`

export type CreditGrantDraft = {
  readonly id: string
  readonly organizationId: OrganizationId
  readonly kind: CreditKind
  readonly amount: NanoUsd
  /** Among grants that end together the lower one is spent first. */
  readonly priority: number
  readonly expiresAt: Date | null
  /** The same one twice grants once. */
  readonly reference: string
  readonly note: string | null
}

/**
 * Posts a grant in the ledger and keeps it as one that can end: what remains of all grants is always the credit and what
 * is leased of it. Undefined when there is a grant with this reference; the caller then undoes the transaction.
 */
export async function grantCredit(tx: Queryable, draft: CreditGrantDraft): Promise<CreditGrantRow | undefined> {
  const { id, organizationId, kind, amount, priority, expiresAt, reference, note } = draft
  const post = `select post_ledger('grant', $1, array['platform/funding', $2], array[-$3::bigint, $3::bigint], $4) as posted`
  const account = `${organizationId}/credit`
  const values = [`grant ${reference}`, account, amount, note]
  const { posted } = only(await tx.query<{ posted: boolean }>(sql(post), values))
  if (!posted) return undefined
  const insert = `insert into credit_grants (id, organization_id, kind, amount_nano_usd, remaining_nano_usd, priority,
      expires_at, reference, note)
    values ($1, $2, $3, $4, $4, $5, $6, $7, $8) on conflict (reference) do nothing returning ${columns}`
  const kept = [id, organizationId, kind, amount, priority, expiresAt, reference, note]
  const [row] = await tx.query<CreditGrantRow>(sql(insert), kept)
  return row
}

/** @param organization null: of any */
export async function findCreditGrant(
  database: Queryable,
  organization: OrganizationId | null,
  id: string,
): Promise<CreditGrantRow | undefined> {
  const text = `select ${columns} from credit_grants where id = $1 and ($2::text is null or organization_id = $2)`
  const [row] = await database.query<CreditGrantRow>(sql(text), [id, organization])
  return row
}

const grantList = {
  table: 'credit_grants',
  columns: ['created_at', 'id'],
  id: 'id',
  within: 'c.organization_id = $1',
}
const grantsPage = (order: Order): string => `select ${columns} from credit_grants
  where organization_id = $1 and ($2::text is null or ${status} = $2) and ${behindCursor(grantList, order, ['$3', '$4'])}`

export async function listCreditGrants(
  database: Queryable,
  organization: OrganizationId,
  page: PageRequest & { readonly status?: CreditStatus | undefined },
): Promise<Page<CreditGrantRow>> {
  const values = [organization, page.status ?? null, page.after ?? null, rowsToRead(page)]
  return toPage(await database.query<CreditGrantRow>(sql(grantsPage(page.order)), values), page)
}

/**
 * Ends a grant, and takes what is neither spent nor leased of it. Again for one that was revoked before: what came back
 * meanwhile.
 */
export async function revokeCredit(tx: Queryable, id: string): Promise<void> {
  await tx.query(sql('select revoke_credit($1)'), [id])
}
