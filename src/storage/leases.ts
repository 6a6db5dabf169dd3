/** Slices of an organization's credit that a node has reserved. The money moves in the ledger, in SQL functions. */
import type { LeaseId, OrganizationId } from '#contract/ids.ts'
import { type NanoUsd, nanoUsd } from '#core/money.ts'
import { only, prepared, type Queryable, sql } from './database.ts'

/** `granted` is all that the lease holds now, less what was handed back; `leftOver` the credit that remains outside it. */
export type GrownLease = { readonly added: NanoUsd; readonly leftOver: NanoUsd; readonly granted: NanoUsd }

export type LeaseRequest = {
  readonly lease: LeaseId
  readonly organization: OrganizationId
  readonly node: string
  /** Less than this is of no use: then nothing is added. */
  readonly need: NanoUsd
  readonly want: NanoUsd
}

const grow = prepared('grow_lease', 'select * from grow_lease($1, $2, $3, $4, $5)')
const giveBack = prepared('return_lease', 'select return_lease($1, $2, $3)')

export async function growLease(database: Queryable, request: LeaseRequest): Promise<GrownLease> {
  const row = only(
    await database.query<{ added: bigint; left_over: bigint; granted: bigint; returned: bigint }>(grow, [
      request.lease,
      request.organization,
      request.node,
      request.need,
      request.want,
    ]),
  )
  return { added: nanoUsd(row.added), leftOver: nanoUsd(row.left_over), granted: nanoUsd(row.granted - row.returned) }
}

export async function returnLease(
  database: Queryable,
  lease: LeaseId,
  amount: NanoUsd,
  closing = false,
): Promise<void> {
  await database.query(giveBack, [lease, amount, closing])
}

/**
 * Closes what an earlier run of this node left open. Only after its journal has been replayed: what is then neither
 * settled nor returned belongs to calls that no caller saw the end of.
 * @returns how many leases there were
 */
export async function closeLeasesOf(database: Queryable, node: string): Promise<number> {
  const closed = await database.query(
    sql(`select return_lease(id, granted_nano_usd - settled_nano_usd - returned_nano_usd, true)
         from leases where node_id = $1 and closed_at is null`),
    [node],
  )
  return closed.length
}
