/** Credit of an organization: two accounts of the ledger. */
import type { OrganizationId } from '#contract/ids.ts'
import { type NanoUsd, nanoUsd } from '#core/money.ts'
import { only, type Queryable, sql } from './database.ts'

export type CreditBalance = { readonly available: NanoUsd; readonly reserved: NanoUsd }

/** Both in one snapshot. */
export async function readCredit(database: Queryable, organization: OrganizationId): Promise<CreditBalance> {
  const text = `select coalesce(sum(balance_nano_usd) filter (where kind = 'credit'), 0)::bigint as available,
      coalesce(sum(balance_nano_usd) filter (where kind = 'leased'), 0)::bigint as reserved
    from ledger_accounts where organization_id = $1`
  const row = only(await database.query<{ available: bigint; reserved: bigint }>(sql(text), [organization]))
  return { available: nanoUsd(row.available), reserved: nanoUsd(row.reserved) }
}

export type CreditGrant = {
  readonly organizationId: OrganizationId
  readonly amount: NanoUsd
  /** The same one twice grants once. */
  readonly reference: string
  readonly note: string | null
}

/** Undefined when a grant with this reference was posted before. */
export async function grantCredit(
  tx: Queryable,
  { organizationId, amount, reference, note }: CreditGrant,
): Promise<{ id: string; created_at: Date } | undefined> {
  const named = `grant ${reference}`
  const { posted } = only(
    await tx.query<{ posted: boolean }>(
      sql(
        `select post_ledger('grant', $1, array['platform/funding', $2], array[-$3::bigint, $3::bigint], $4) as posted`,
      ),
      [named, `${organizationId}/credit`, amount, note],
    ),
  )
  if (!posted) return undefined
  return only(
    await tx.query<{ id: string; created_at: Date }>(
      sql('select id, created_at from ledger_transactions where reference = $1'),
      [named],
    ),
  )
}
