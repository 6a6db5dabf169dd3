/** Lists by cursor: a page costs the same however far in it is, and shifts for nobody when rows come and go. */

export type Order = 'asc' | 'desc'
export type PageRequest = { readonly after?: string | undefined; readonly limit: number; readonly order: Order }
export type Page<Row> = { readonly rows: readonly Row[]; readonly hasMore: boolean }

/**
 * The end of a query over `table`, whose rows are sorted by `columns`: what comes behind the cursor's row, in order.
 * Parameters: the cursor's id or null, and how many rows to read. Names and order are ours; nothing here comes from input.
 *
 * @param within a condition on `c`, the cursor's row: a cursor from outside the list leads nowhere and tells nothing
 */
export function behindCursor(
  list: { table: string; columns: readonly string[]; id: string; within: string },
  order: Order,
  [after, limit]: readonly [after: string, limit: string],
): string {
  const { table, columns, id, within } = list
  const own = columns.map(column => `${table}.${column}`)
  const cursor = columns.map(column => `c.${column}`).join(', ')
  return `(${after}::text is null or (${own.join(', ')}) ${order === 'asc' ? '>' : '<'}
      (select ${cursor} from ${table} c where c.${id} = ${after} and ${within}))
    order by ${own.map(column => `${column} ${order}`).join(', ')} limit ${limit}`
}

/** One row more than asked for tells whether there are more. */
export const rowsToRead = ({ limit }: PageRequest): number => limit + 1

export const toPage = <Row>(rows: readonly Row[], { limit }: PageRequest): Page<Row> => ({
  rows: rows.slice(0, limit),
  hasMore: rows.length > limit,
})
