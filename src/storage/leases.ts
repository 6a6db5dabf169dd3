/** Slices of an organization's credit, and of spend limits, that a node has reserved. The money moves in SQL functions. */
import type { LeaseId, OrganizationId } from '#contract/ids.ts'
import { type NanoUsd, nanoUsd } from '#core/money.ts'
import type { SpendAccount } from '#core/spending.ts'
import { only, prepared, type Queryable, sql } from './database.ts'

/** How a lease and its account stand after it was to grow. */
export type GrownLease = {
  /** All that the lease holds now, less what was handed back. */
  readonly granted: NanoUsd
  /** What remains of the account outside of all leases. Below zero where a limit was lowered beneath what is spent. */
  readonly leftOver: NanoUsd
  /** What other leases hold of the same account. */
  readonly elsewhere: NanoUsd
  /** The spend limit; null for credit, and where the limit was taken away meanwhile. */
  readonly limit: NanoUsd | null
  /** The limit is the usage tier's cap. */
  readonly capped: boolean
  /** This node was given up for lost, and the lease was taken back: it needs a new one. */
  readonly closed: boolean
  /** The lease's newest. The next request names it, so that one that was given up and comes too late does nothing. */
  readonly movement: number
  /** The lease has moved since: it is told how it stands, and nothing was added. */
  readonly overtaken: boolean
  /** Until the database must be asked again, whatever is left: some of the credit ends. Null: as long as something is. */
  readonly endsInMs: number | null
}

export type LeaseRequest = {
  readonly lease: LeaseId
  readonly account: SpendAccount
  readonly node: string
  /** The lease's newest movement that this node has heard of. Undefined: whatever it is. */
  readonly movement?: number
  /** What is needed beyond what the lease has. */
  readonly need: NanoUsd
  /** What would be good to have. */
  readonly want: NanoUsd
  /** Where `need` is more than is left: all that is left, if it is at least this; less is of no use. */
  readonly least: NanoUsd
}

type GrownRow = {
  left_over: bigint
  granted: bigint
  returned: bigint
  elsewhere: bigint
  most: bigint | null
  capped: boolean | null
  closed: boolean
  movement: number | null
  overtaken: boolean
  ends_in_ms: bigint | null
}

const grow = prepared('grow_lease', 'select * from grow_lease($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)')
const openLeases = prepared('open_leases', 'select id from leases where node_id = $1 and closed_at is null')
const giveBack = prepared('return_lease', 'select return_lease($1, $2, false, $3) as arrived')

export async function growLease(database: Queryable, request: LeaseRequest): Promise<GrownLease> {
  const { lease, account, node, movement, need, want, least } = request
  const place =
    account.kind === 'credit'
      ? [null, null, null]
      : [account.scope, account.period, new Date(account.startsAtMs).toISOString()]
  const row = only(
    await database.query<GrownRow>(grow, [
      lease,
      account.organization,
      node,
      ...place,
      need,
      want,
      least,
      movement ?? null,
    ]),
  )
  return {
    granted: nanoUsd(row.granted - row.returned),
    leftOver: nanoUsd(row.left_over),
    elsewhere: nanoUsd(row.elsewhere),
    limit: row.most === null ? null : nanoUsd(row.most),
    capped: row.capped === true,
    // One that had moved and is not there was closed so long ago that it was deleted
    closed: row.closed || ((movement ?? 0) > 0 && row.movement === null),
    movement: row.movement ?? 0,
    overtaken: row.overtaken,
    endsInMs: row.ends_in_ms === null ? null : Number(row.ends_in_ms),
  }
}

/**
 * @param movement the lease's newest, as far as its node has heard
 * @returns false where the lease has moved since, or was closed: then nothing was handed back
 */
export async function returnLease(
  database: Queryable,
  lease: LeaseId,
  amount: NanoUsd,
  movement: number,
): Promise<boolean> {
  return only(await database.query<{ arrived: boolean }>(giveBack, [lease, amount, movement])).arrived
}

/** @returns false while usage of this lease is still on its way to the database */
export async function closeSettledLease(database: Queryable, lease: LeaseId): Promise<boolean> {
  const text = 'select close_settled_lease($1) as closed'
  return only(await database.query<{ closed: boolean }>(sql(text), [lease])).closed
}

/**
 * Closes what a node left open. Only after its journal has been replayed, or when the node was given up for lost: what is
 * then neither settled nor returned belongs to calls that no caller saw the end of.
 * @returns how many leases there were
 */
export async function closeLeasesOf(database: Queryable, node: string): Promise<number> {
  return closeStrayLeases(database, node, () => false)
}

/** Closes those of the node that it does not know: it is asked after they have been read. @returns how many there were */
export async function closeStrayLeases(
  database: Queryable,
  node: string,
  isKnown: (lease: LeaseId) => boolean,
): Promise<number> {
  const open = await database.query<{ id: LeaseId }>(openLeases, [node])
  const strays = open.filter(({ id }) => !isKnown(id))
  for (const { id } of strays) await database.query(sql('select close_lease($1)'), [id])
  return strays.length
}

/** Of one statement, so that no lock is held for long; the rest comes in the next run. */
const closedRowsMax = 20_000

/**
 * What was leased and is over. The ledger says all that became of it; a journal that still comes for it is charged as one that
 * comes for a lease that was taken back.
 */
export async function deleteClosedLeases(database: Queryable, days: number): Promise<number> {
  const text = `delete from leases where id in (select id from leases where closed_at < now() - $1 * interval '1 day'
    order by closed_at limit ${closedRowsMax}) returning 1`
  return (await database.query(sql(text), [days])).length
}

/** Asks all nodes to hand back what they do not need of an account. */
export async function recallLeases(database: Queryable, scope: string): Promise<void> {
  await database.query(sql('select recall_leases($1)'), [scope])
}

export type LeaseRecall = { readonly id: bigint; readonly scope_id: OrganizationId | string }

export async function recallsAfter(database: Queryable, id: bigint): Promise<LeaseRecall[]> {
  return database.query<LeaseRecall>(sql('select id, scope_id from lease_recalls where id > $1 order by id'), [id])
}

export async function newestRecall(database: Queryable): Promise<bigint> {
  const text = 'select coalesce(max(id), 0) as id from lease_recalls'
  return only(await database.query<{ id: bigint }>(sql(text))).id
}
