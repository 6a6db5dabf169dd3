/** What to say to a path that no row has, or to a verb that its path does not take. */
import { allEndpoints } from '#contract/endpoints.ts'
import { type ApiError, apiError } from '#contract/errors.ts'
import { maskCredentials } from '#observe/log.ts'

const shownMax = 200

const paths = allEndpoints.map(({ row }) => ({
  method: row.method,
  expression: new RegExp(`^${row.path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`),
}))

export function routeMissing(method: string, url: string): ApiError {
  const path = url.split('?', 1)[0] ?? ''
  const methods = new Set(paths.filter(({ expression }) => expression.test(path)).map(row => row.method))
  // Somebody pasted a key into the address: the answer to that is logged by others
  const shown = maskCredentials(path).slice(0, shownMax)
  if (methods.size === 0) return apiError('unknown_url', { method, path: shown })
  const allow = [...methods].join(', ')
  return apiError('method_not_allowed', { method, path: shown, allow }, { headers: { allow } })
}
