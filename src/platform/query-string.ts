/** The query of a URL as an object: `a=1`, `a=1&a=2` and `a[]=1` all are members named a. */

import { apiError } from '#contract/errors.ts'

/** More parameters than any row has; the rest could only be an attack on our memory. */
const parametersMax = 1_000

export function parseQuery(text: string): Record<string, string | string[]> {
  const query: Record<string, string | string[]> = Object.create(null)
  let count = 0
  for (const [written, value] of new URLSearchParams(text)) {
    count += 1
    if (count > parametersMax) throw tooMany()
    const isArray = written.endsWith('[]')
    const name = isArray ? written.slice(0, -2) : written
    const known = query[name]
    if (known === undefined) query[name] = isArray ? [value] : value
    else query[name] = [known, value].flat()
  }
  return query
}

const tooMany = (): Error =>
  apiError('invalid_parameter', { param: null, message: `The URL has more than ${parametersMax} parameters.` })
