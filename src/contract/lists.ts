/** Lists as OpenAI pages them: the cursor is the id of the last item of the page before. */
import { z } from 'zod'

export const listLimitMax = 100
const listLimitDefault = 20

/** A number in a query string, written as one: JavaScript takes an empty text for 0, and `0x10` for 16. */
export const queryInteger = (min: number, max: number) =>
  z.preprocess(
    text => (typeof text === 'string' && /^-?\d+(?:\.\d+)?$/.test(text) ? Number(text) : text),
    z.number().int().min(min).max(max),
  )

const word = z.enum(['true', 'false'])
export const queryBoolean = word.transform(text => text === 'true').pipe(z.boolean())

/** OpenAI's SDKs send `name[]=a&name[]=b`, its documents say `name=a&name=b` or `name=a,b`: all three are one array. */
export const queryArray = <Item extends z.ZodType>(item: Item) =>
  z.preprocess(
    value => [value].flat().flatMap(text => (typeof text === 'string' ? text.split(',') : [text])),
    z.array(item).max(listLimitMax),
  )

/** An empty one is none: clients in other languages send it with the first page. */
export const cursor = z.preprocess(id => (id === '' ? undefined : id), z.string().max(256).optional()).optional()

export const listQuery = z.strictObject({
  after: cursor.describe('The id of the last item of the page before.'),
  limit: queryInteger(1, listLimitMax).default(listLimitDefault),
  order: z.enum(['asc', 'desc']).default('asc').describe('By time of creation.'),
})

export const listOf = <Item extends z.ZodType>(item: Item) =>
  z.object({
    object: z.literal('list'),
    data: z.array(item),
    first_id: z.string().nullable(),
    last_id: z.string().nullable(),
    has_more: z.boolean(),
  })

export const deleted = <const Kind extends string>(object: Kind) =>
  z.object({ id: z.string(), object: z.literal(object), deleted: z.literal(true) })

/** The other style: `next` is what `after` takes. Groups, roles and whoever has them. */
export const nextListLimitMax = 1_000

export const nextListQuery = (
  limitDefault: number,
  { limitMax = nextListLimitMax, order = 'asc' as 'asc' | 'desc' } = {},
) =>
  z.strictObject({
    after: cursor.describe('The `next` of the page before.'),
    limit: queryInteger(1, limitMax).default(limitDefault),
    order: z.enum(['asc', 'desc']).default(order).describe('By time of creation.'),
  })

export const nextListOf = <Item extends z.ZodType>(item: Item) =>
  z.object({ object: z.literal('list'), data: z.array(item), has_more: z.boolean(), next: z.string().nullable() })
