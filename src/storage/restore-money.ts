/**
 * What a restore does about money that was in use.
 *
 * Leases that are open in the backup belong to calls that were in flight when it was written. Their usage, if it is not in
 * the backup, will never come: they are closed and their remainder goes back to credit.
 *
 * Leases that are open in the database that is being replaced belong to nodes that run now. They live on, with what is left
 * of them reserved from the restored credit: the nodes need not be told, and usage that waits in their journals is charged
 * as ever. When the restored credit does not cover a lease it shrinks; what its node spends beyond is taken from credit that
 * comes later, or borne by the platform. No balance can go under zero. Leases on spend limits live on whole: a limit that is
 * then overdrawn admits nothing until there is room.
 */
import { BackupRefused } from './backup-format.ts'
import { type Queryable, sql } from './database.ts'

/** Before the tables are emptied. */
export async function keepLiveLeases(tx: Queryable): Promise<void> {
  await tx.query(
    sql(`create temp table live_leases on commit drop as
         select *, granted_nano_usd - settled_nano_usd - returned_nano_usd as remainder from leases where closed_at is null`),
  )
}

/** @throws BackupRefused when what was loaded is not a ledger: sums that are not zero, balances that are not sums. */
export async function checkLedger(tx: Queryable): Promise<void> {
  const transactions = await tx.query<{ id: string }>(
    sql(`select transaction_id as id from ledger_entries group by 1 having sum(amount_nano_usd) <> 0 limit 1`),
  )
  const accounts = await tx.query<{ id: string }>(
    sql(`select a.id from ledger_accounts a
           left join (select account_id, sum(amount_nano_usd) as total from ledger_entries group by 1) e on e.account_id = a.id
         where a.balance_nano_usd <> coalesce(e.total, 0) limit 1`),
  )
  const [wrong] = [...transactions, ...accounts]
  if (wrong) throw new BackupRefused(`The ledger in the backup does not add up (${wrong.id}): take another backup.`)
}

export async function closeRestoredLeases(tx: Queryable): Promise<void> {
  await tx.query(
    sql(`select return_lease(id, granted_nano_usd - settled_nano_usd - returned_nano_usd, true)
         from leases where closed_at is null order by id`),
  )
}

/** `reserved`: what the credit covers of each remainder, first come, first served. Movements only grow: they name postings. */
export async function reviveLiveLeases(tx: Queryable): Promise<void> {
  await tx.query(
    sql(`with covered as (
           select l.*, least(remainder, greatest(0, c.balance_nano_usd + remainder
               - sum(remainder) over (partition by l.organization_id order by l.id)))::bigint as reserved
           from live_leases l
             join organizations o on o.id = l.organization_id
             join ledger_accounts c on c.id = l.organization_id || '/credit'
           where l.scope_id is null
         ), revived as (
           insert into leases (id, organization_id, node_id, movements, granted_nano_usd, settled_nano_usd,
               returned_nano_usd, opened_at)
             select id, organization_id, node_id, movements + 1, granted_nano_usd - remainder + reserved,
               settled_nano_usd, returned_nano_usd, opened_at
             from covered
           on conflict (id) do update set organization_id = excluded.organization_id, node_id = excluded.node_id,
             movements = greatest(leases.movements + 1, excluded.movements),
             granted_nano_usd = excluded.granted_nano_usd, settled_nano_usd = excluded.settled_nano_usd,
             returned_nano_usd = excluded.returned_nano_usd, opened_at = excluded.opened_at, closed_at = null
           returning id, movements
         )
         select post_ledger('lease', 'lease ' || r.id || ' ' || r.movements,
           array[organization_id || '/credit', organization_id || '/leased'], array[-reserved, reserved])
         from revived r join covered using (id) where reserved > 0`),
  )
  await tx.query(
    sql(`with revived as (
           insert into leases select (jsonb_populate_record(null::leases, to_jsonb(l))).* from live_leases l
             where scope_id is not null and organization_id in (select id from organizations)
           on conflict (id) do update set node_id = excluded.node_id, closed_at = null,
             movements = greatest(leases.movements + 1, excluded.movements), granted_nano_usd = excluded.granted_nano_usd,
             settled_nano_usd = excluded.settled_nano_usd, returned_nano_usd = excluded.returned_nano_usd
           returning id
         )
         insert into spend_windows (scope_id, period, starts_at, leased_nano_usd)
           select scope_id, period, starts_at, sum(remainder)::bigint from live_leases where id in (select id from revived)
           group by 1, 2, 3
         on conflict (scope_id, period, starts_at) do update
           set leased_nano_usd = spend_windows.leased_nano_usd + excluded.leased_nano_usd`),
  )
}
