/** Asks a provider which models it has. */
import { apiError } from '#contract/errors.ts'
import type { ModelKind } from '#core/catalogue.ts'

/** Where a provider is, and what it is asked with. */
export type Upstream = { readonly name: string; readonly baseUrl: string; readonly credential: string | null }
export type DiscoveredModel = { readonly name: string; readonly kind: ModelKind }

const discoverTimeoutMs = 10_000
const answerBytesMax = 8 * 1024 * 1024

/** @throws ApiError upstream_* that names the provider and says what it did */
export async function discoverModels(upstream: Upstream): Promise<DiscoveredModel[]> {
  const provider = upstream.name
  const text = await askForModels(upstream).catch(error => {
    if (error instanceof Error && 'errorCode' in error) throw error
    const isLate = error instanceof Error && error.name === 'TimeoutError'
    if (isLate) throw apiError('upstream_timeout', { provider }, { cause: error })
    throw apiError('provider_unreachable', { provider, baseUrl: upstream.baseUrl }, { cause: error })
  })
  return readIds(text, provider).flatMap(name => {
    const kind = kindOf(name)
    return kind === undefined ? [] : [{ name, kind }]
  })
}

async function askForModels({ name: provider, baseUrl, credential }: Upstream): Promise<string> {
  const response = await fetch(`${baseUrl}/models`, {
    headers: { accept: 'application/json', ...(credential !== null && { authorization: `Bearer ${credential}` }) },
    // A redirect would carry the credential to wherever it points
    redirect: 'manual',
    signal: AbortSignal.timeout(discoverTimeoutMs),
  })
  const { status } = response
  if (status === 401 || status === 403) throw apiError('upstream_credential', { provider })
  if (status !== 200) throw apiError('upstream_error', { provider, status })
  return readBounded(response, provider)
}

async function readBounded(response: Response, provider: string): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > answerBytesMax) throw apiError('upstream_invalid', { provider })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, bytes).toString('utf8')
}

/** The shape of GET /v1/models, of which only the ids matter. */
function readIds(text: string, provider: string): string[] {
  try {
    const { data } = JSON.parse(text) as { data: { id: unknown }[] }
    const ids = data.map(({ id }) => id).filter(id => typeof id === 'string')
    return [...new Set(ids)]
  } catch (cause) {
    // Whatever the answer was, it was not a list of models
    throw apiError('upstream_invalid', { provider }, { cause })
  }
}

/** A list of models says nothing about what they are for: their names have to. First match; undefined is not for us. */
const kinds: readonly (readonly [RegExp, ModelKind | undefined])[] = [
  [/embed|^bge-|^gte-|^e5-/i, 'embedding'],
  [/whisper|tts|dall-e|image|moderation|realtime|transcribe|audio|speech|sora|rerank|^veo-|^imagen-/i, undefined],
  [/^(gpt-3\.5-turbo-instruct|davinci|babbage)/i, 'completion'],
]

const kindOf = (name: string): ModelKind | undefined => {
  const row = kinds.find(([pattern]) => pattern.test(name))
  return row ? row[1] : 'chat'
}
