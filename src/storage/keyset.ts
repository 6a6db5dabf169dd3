/** Lists by cursor: a page costs the same however far in it is, and shifts for nobody when rows come and go. */
import { type Queryable, sql } from './database.ts'

export type Order = 'asc' | 'desc'
export type PageRequest = { readonly after?: string | undefined; readonly limit: number; readonly order: Order }
export type Page<Row> = { readonly rows: readonly Row[]; readonly hasMore: boolean }

/** A list of rows of `table`, sorted by `columns`, the last of which is the id. Names are ours; nothing here comes from input. */
export type KeysetList = {
  readonly table: string
  readonly columns: readonly string[]
  readonly id: string
  /** A condition on `c`, the cursor's row: a cursor from outside the list leads nowhere and tells nothing. */
  readonly within: string
  /** Where rows are deleted for good: whose list it is, as `list_places` has it. */
  readonly deletedWithin?: string
}

/**
 * The end of a query over the list's table: what comes behind the cursor's row, in order. A row that was deleted since the
 * page before still says where the next one begins.
 * Parameters: the cursor's id or null, and how many rows to read.
 */
export function behindCursor(
  list: KeysetList,
  order: Order,
  [after, limit]: readonly [after: string, limit: string],
): string {
  const own = list.columns.map(column => `${list.table}.${column}`)
  return `(${after}::text is null or (${own.join(', ')}) ${order === 'asc' ? '>' : '<'} ${cursorOf(list, after)})
    order by ${own.map(column => `${column} ${order}`).join(', ')} limit ${limit}`
}

function cursorOf({ table, columns, id, within, deletedWithin }: KeysetList, after: string): string {
  // Sorted by the id alone, it is a place by itself, whether it is there or not
  if (columns.every(column => column === id)) return `(${after})`
  const cursor = columns.map(column => `c.${column}`).join(', ')
  const living = `select ${cursor} from ${table} c where c.${id} = ${after} and ${within}`
  return deletedWithin === undefined ? `(${living})` : livingOrDeleted(living, table, deletedWithin, after)
}

/** One that came back stands where it is now: where it was, a page of one row would lead back to it for ever. */
export const livingOrDeleted = (living: string, list: string, within: string, after: string): string =>
  `(select sorted_at, id from (
      select false, living.* from (${living}) living union all
      select true, p.sorted_at, p.id from list_places p where p.list = '${list}' and p.within = ${within} and p.id = ${after}
    ) cursor (deleted, sorted_at, id) order by deleted limit 1)`

/** Places that nobody goes on from any more. */
export async function deleteOldPlaces(database: Queryable): Promise<number> {
  const text = "delete from list_places where deleted_at < now() - interval '1 day' returning id"
  return (await database.query(sql(text))).length
}

/** One row more than asked for tells whether there are more. */
export const rowsToRead = ({ limit }: PageRequest): number => limit + 1

export const toPage = <Row>(rows: readonly Row[], { limit }: PageRequest): Page<Row> => ({
  rows: rows.slice(0, limit),
  hasMore: rows.length > limit,
})
