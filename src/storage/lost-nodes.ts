/** Nodes that were not heard of for long, what they had leased, and rows that nobody reads any more. */
import { authEventsMax } from './auth-events.ts'
import { type Queryable, sql } from './database.ts'

/** Whether it left in good order or not: for so long it has not said that it lives. */
const lost = `n.seen_at < now() - $1 * interval '1 minute'`

/** Of lost nodes, and of such as nobody knows: they cannot be of a node that runs, since those say so at their start. */
export async function leasesOfLostNodes(database: Queryable, minutes: number): Promise<{ id: string; node: string }[]> {
  const text = `select l.id, l.node_id as node from leases l left join nodes n on n.id = l.node_id
    where l.closed_at is null and (${lost} or (n.id is null and l.opened_at < now() - $1 * interval '1 minute'))
    order by l.id limit 10000`
  return database.query<{ id: string; node: string }>(sql(text), [minutes])
}

/** A transaction of its own, as close_lease demands: to be asked outside of any. */
export async function closeLease(database: Queryable, lease: string): Promise<void> {
  await database.query(sql('select close_lease($1)'), [lease])
}

/** One that wakes later hears of it by this, and begins new leases. */
export async function markLostNodes(database: Queryable, minutes: number): Promise<string[]> {
  const text = `update nodes n set left_at = now() where left_at is null and ${lost} returning id`
  return (await database.query<{ id: string }>(sql(text), [minutes])).map(({ id }) => id)
}

export async function deleteLeftNodes(database: Queryable): Promise<number> {
  const text = `delete from nodes n where left_at < now() - interval '1 day'
    and not exists (select from leases l where l.node_id = n.id and l.closed_at is null) returning id`
  return (await database.query(sql(text))).length
}

/** A recall is a hint for this very moment. */
export async function deleteOldRecalls(database: Queryable): Promise<number> {
  const text = `delete from lease_recalls where created_at < now() - interval '1 minute' returning id`
  return (await database.query(sql(text))).length
}

/**
 * Those of the last day stay, and always the newest ones: a node that wakes after days reads on where it stopped, and must
 * find either all that it missed or more than `authEventsMax`, upon which it forgets everything.
 */
export async function trimAuthEvents(database: Queryable): Promise<number> {
  const text = `delete from auth_events where created_at < now() - interval '1 day'
    and id < (select id from auth_events order by id desc offset ${2 * authEventsMax} limit 1) returning id`
  return (await database.query(sql(text))).length
}
