/** From a page of rows to a list on the wire. */
import type { Page } from '#storage/keyset.ts'

export type List<Item> = {
  object: 'list'
  data: Item[]
  first_id: string | null
  last_id: string | null
  has_more: boolean
}

/** @param idOf what `after` takes: mostly the id */
export function toList<Row, Item>(
  { rows, hasMore }: Page<Row>,
  toItem: (row: Row) => Item,
  idOf: (row: Row) => string,
): List<Item> {
  const [first, last] = [rows[0], rows.at(-1)]
  return {
    object: 'list',
    data: rows.map(toItem),
    first_id: first === undefined ? null : idOf(first),
    last_id: last === undefined ? null : idOf(last),
    has_more: hasMore,
  }
}

/** @param idOf what `after` takes */
export function toNextList<Row, Item>(
  { rows, hasMore }: Page<Row>,
  toItem: (row: Row) => Item,
  idOf: (row: Row) => string,
): { object: 'list'; data: Item[]; has_more: boolean; next: string | null } {
  const last = rows.at(-1)
  const next = hasMore && last !== undefined ? idOf(last) : null
  return { object: 'list', data: rows.map(toItem), has_more: hasMore, next }
}

export const unixSeconds = (time: Date): number => Math.floor(time.getTime() / 1000)
export const unixSecondsOrNull = (time: Date | null): number | null => time && unixSeconds(time)
