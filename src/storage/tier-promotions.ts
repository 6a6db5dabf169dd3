/** What organizations have paid, for the usage tier that this earns. */
import type { OrganizationId } from '#contract/ids.ts'
import { type NanoUsd, nanoUsd } from '#core/money.ts'
import type { TierName } from '#core/usage-tiers.ts'
import { type Queryable, sql } from './database.ts'

export type PaidOrganization = {
  readonly id: OrganizationId
  readonly tier: TierName
  /** Bought credit less what was taken back of it. */
  readonly paid: NanoUsd
  readonly firstPaidAt: Date | null
}

type Row = { id: OrganizationId; tier: TierName; paid: bigint; first_paid_at: Date | null }

/** What a revocation took is told by the ledger: its reference begins with the grant. */
const paid = `select o.id, o.usage_tier as tier, min(g.created_at) as first_paid_at,
    coalesce(sum(g.amount_nano_usd - coalesce(taken.amount, 0)), 0)::bigint as paid
  from organizations o
    left join credit_grants g on g.organization_id = o.id and g.kind = 'purchased'
    left join lateral (select sum(-e.amount_nano_usd) as amount
      from ledger_transactions t join ledger_entries e on e.transaction_id = t.id
      where g.revoked_at is not null and t.kind = 'revoke' and starts_with(t.reference, 'revoke ' || g.id || ' ')
        and e.account_id = g.organization_id || '/credit') taken on true
  where o.usage_tier is not null and not o.usage_tier_by_hand`

const toPaid = ({ id, tier, paid: amount, first_paid_at }: Row): PaidOrganization => ({
  id,
  tier,
  paid: nanoUsd(amount),
  firstPaidAt: first_paid_at,
})

export async function listPaid(database: Queryable): Promise<PaidOrganization[]> {
  return (await database.query<Row>(sql(`${paid} group by o.id order by o.id`))).map(toPaid)
}

/** Held as it is until the transaction ends. Undefined where its tier is set by hand now. */
export async function lockPaid(tx: Queryable, id: OrganizationId): Promise<PaidOrganization | undefined> {
  await tx.query(sql('select from organizations where id = $1 for no key update'), [id])
  const [row] = await tx.query<Row>(sql(`${paid} and o.id = $1 group by o.id`), [id])
  return row && toPaid(row)
}
