/**
 * The ordered list of changes to "who may do what". A change writes its row in its own transaction; every node reads
 * the rows that it has not seen. The notification is a hint and may be lost: the rows are the truth.
 */
import { prepared, type Queryable, sql } from './database.ts'

export type AuthSubject = 'api_key' | 'project' | 'organization' | 'catalogue' | 'everything'
export type AuthEvent = { readonly id: bigint; readonly subject_kind: AuthSubject; readonly subject_id: string }

export const authChannel = 'keyhouse_auth'
/** A node that is further behind than this forgets everything instead of reading on. */
export const authEventsMax = 1000

/** One row without an event where nothing is new: the time is always told. */
const eventsAfter = prepared(
  'auth_events_after',
  `select e.id, e.subject_kind, e.subject_id, clock_timestamp() as told_at
   from (values (1)) as always
     left join (select id, subject_kind, subject_id from auth_events where id > $1 order by id limit ${authEventsMax + 1}) e
       on true
   order by e.id`,
)
const newestEvent = prepared('auth_events_newest', 'select coalesce(max(id), 0) as id from auth_events')

/** To be called inside the transaction that makes the change, as its last statement: it takes a lock until the commit. */
export async function recordAuthEvent(tx: Queryable, kind: AuthSubject, id: string): Promise<void> {
  await tx.query(sql('select record_auth_event($1, $2)'), [kind, id])
}

export type AuthNews = {
  readonly events: readonly AuthEvent[]
  /** What the database's clock said: milliseconds since 1970. */
  readonly toldAtMs: number
}

type NewsRow = (AuthEvent | { readonly id: null }) & { readonly told_at: Date }

export async function authEventsAfter(database: Queryable, id: bigint): Promise<AuthNews> {
  const rows = await database.query<NewsRow>(eventsAfter, [id])
  const [first] = rows
  if (!first) throw new Error('the database told no time')
  return { events: rows.filter(row => row.id !== null), toldAtMs: first.told_at.getTime() }
}

export async function newestAuthEvent(database: Queryable): Promise<bigint> {
  const [row] = await database.query<{ id: bigint }>(newestEvent)
  return row?.id ?? 0n
}
