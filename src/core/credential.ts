/** The one place that reads a credential from a request. */
import { type ApiError, apiError } from '#contract/errors.ts'

/** Headers as they arrived, names and values in turn; the part after the `?`, still encoded. */
export type CarriesCredential = { readonly rawHeaders: readonly string[]; readonly query: string }

const carriers = new Set(['authorization', 'x-api-key', 'api-key'])
const carrierLengths = new Set([...carriers].map(name => name.length))

/**
 * The key that a request carries: Bearer, Basic (as the password), `x-api-key` or `api-key`. The same key twice is
 * fine; two different ones are not, since each part of a system might believe another.
 * @throws ApiError missing_api_key, conflicting_credentials, key_in_url
 */
export function readCredential(request: CarriesCredential): string {
  let found: string | undefined
  const { rawHeaders, query } = request
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    if (!carrierLengths.has(name.length) || !carriers.has(name.toLowerCase())) continue
    const key = keyOf(name.length === 'authorization'.length, rawHeaders[index + 1] ?? '')
    if (key === '') continue
    if (found !== undefined && found !== key) throw apiError('conflicting_credentials')
    found = key
  }
  if (query !== '' && hasKey(query)) throw apiError('key_in_url')
  if (found === undefined) throw missing()
  return found
}

const missing = (): ApiError =>
  apiError('missing_api_key', undefined, { headers: { 'www-authenticate': 'Bearer realm="keyhouse"' } })

function keyOf(isAuthorization: boolean, value: string): string {
  if (!isAuthorization) return value
  if (/^basic /i.test(value)) return basicPassword(value.slice('basic '.length))
  // Without the word Bearer people send the bare key; a key is a key
  return /^bearer(?:\s|$)/i.test(value) ? value.slice('bearer '.length) : value
}

function basicPassword(encoded: string): string {
  const text = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  const password = text.slice(colon + 1)
  return password !== '' || colon < 0 ? password : text.slice(0, colon)
}

function hasKey(query: string): boolean {
  for (const [name, value] of new URLSearchParams(query)) {
    if (value.startsWith('sk-') || /^(api_?key|access_token|key|token)$/i.test(name)) return true
  }
  return false
}
