/** Any server that speaks OpenAI's API at a base URL: OpenAI itself, vLLM, Ollama, Llama hosts, another gateway. */
import type { Provider, UpstreamTarget } from './contract.ts'
import { classifyOpenAi } from './openai-wire.ts'

export const openAiBaseUrl = 'https://api.openai.com/v1'

export const openAiCompatible: Provider = {
  adapter: 'openai-compatible',
  address(target, endpoint) {
    const base = parsedBase(target.baseUrl ?? openAiBaseUrl)
    return { origin: base.origin, path: base.path + endpoint, headers: authorization(target) }
  },
  classify: classifyOpenAi,
}

const authorization = (target: UpstreamTarget): Record<string, string> =>
  target.credential === null ? {} : { authorization: `Bearer ${target.credential}` }

type Base = { readonly origin: string; readonly path: string }
const bases = new Map<string, Base>()

/** Base URLs are the operator's settings, so there are few of them: parsed once each. */
function parsedBase(baseUrl: string): Base {
  const known = bases.get(baseUrl)
  if (known) return known
  const url = new URL(baseUrl)
  const base = { origin: url.origin, path: url.pathname.replace(/\/+$/, '') }
  bases.set(baseUrl, base)
  return base
}
