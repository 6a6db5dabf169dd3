/** The address of a provider, as the operator gave it. */
import { apiError } from '#contract/errors.ts'

/** Providers that everybody knows by name. */
const wellKnown: Readonly<Record<string, string>> = { openai: 'https://api.openai.com/v1' }

/** Without a slash at its end, ready to have `/models` put behind it. */
export function readBaseUrl(given: string | undefined, provider: string): string {
  const text = given ?? wellKnown[provider]
  if (text === undefined) throw notGiven(provider)
  const url = URL.parse(text)
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') throw invalid('it must begin with http:// or https://.')
  if (url.username || url.password) throw invalid('it must not contain a user name or password: send api_key.')
  if (url.search || url.hash) throw invalid('it must not contain a query or a fragment.')
  return url.href.replace(/\/+$/, '')
}

const notGiven = (provider: string): Error =>
  apiError('invalid_parameter', {
    param: 'base_url',
    code: 'missing_required_parameter',
    message: `Missing required parameter: 'base_url' (--base-url). Where \`${provider.slice(0, 64)}\` is, is not known by its name; write it as in https://host.example/v1.`,
  })

const invalid = (reason: string): Error =>
  apiError('invalid_parameter', { param: 'base_url', message: `Invalid 'base_url': ${reason}`, code: 'invalid_value' })
