/** Credit whose time has come, or that was revoked while it was leased. */
import type { OrganizationId } from '#contract/ids.ts'
import { only, type Queryable, sql } from './database.ts'

export async function organizationsWithExpiredCredit(database: Queryable): Promise<OrganizationId[]> {
  const text = `select organization_id as id from credit_grants
      where remaining_nano_usd > 0 and expires_at <= now()
    union select organization_id from credit_grants where remaining_nano_usd > 0 and revoked_at is not null order by 1`
  return (await database.query<{ id: OrganizationId }>(sql(text))).map(({ id }) => id)
}

/** @returns how much of it is leased still, in nano-dollars: it expires when the leases come back */
export async function expireCredit(database: Queryable, organization: OrganizationId): Promise<bigint> {
  const text = 'select expire_credit($1) as waiting'
  return only(await database.query<{ waiting: bigint }>(sql(text), [organization])).waiting
}

/** Asks every node to hand back what it does not need. */
export async function recallLeases(database: Queryable, scope: string): Promise<void> {
  await database.query(sql('select recall_leases($1)'), [scope])
}
