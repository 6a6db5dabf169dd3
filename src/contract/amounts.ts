/** Dollars on the wire: exact decimal text wherever the shape is ours, JSON numbers only where OpenAI's is. */
import { z } from 'zod'

const about = 'an amount in dollars such as "12.50", with at most nine decimals'

/** What Keyhouse answers. */
export const usdText = z.string().regex(/^-?\d+\.\d{2,9}$/)

/** What Keyhouse takes: text is exact; a JSON number is taken for what it shows in nine decimals. */
export const usdInput = z
  .union([z.string().regex(/^\d{1,9}(\.\d{1,9})?$/), z.number().min(0).max(999_999_999)], {
    error: `expected ${about}`,
  })
  .describe(`${about[0]?.toUpperCase()}${about.slice(1)}.`)
export type UsdInput = z.output<typeof usdInput>
