/**
 * Asks a Keyhouse whether the Keyhouse keys that were found still work there: one cheap call with each, which costs
 * nothing. Other providers' keys are never sent anywhere, and no key is sent to what is no Keyhouse.
 */
import type { FoundServer } from '../find-server.ts'
import type { Finding, Liveness } from './finding.ts'

const answerMsMax = 10_000
/** Each key that a server does not know costs its database a look-up, and the server counts them. */
const keysAskedMax = 50

/** @param keys by the hash of their finding */
export async function checkLive(
  server: FoundServer,
  findings: readonly Finding[],
  keys: ReadonlyMap<string, string>,
): Promise<Finding[]> {
  const liveness = new Map<string, Liveness>()
  const isKeyhouse = keys.size > 0 && (await answersAsKeyhouse(server))
  for (const [hash, key] of keys) {
    liveness.set(hash, isKeyhouse && liveness.size < keysAskedMax ? await ask(server, key) : 'unknown')
  }
  return findings.map(finding => {
    const live = liveness.get(finding.hash)
    return live === undefined ? finding : { ...finding, live }
  })
}

type Answer = { readonly status: number; readonly headers: Headers; readonly body: unknown }

async function ask({ url }: FoundServer, key: string): Promise<Liveness> {
  const answer = await get(`${url}/v1/models`, { authorization: `Bearer ${key}` })
  if (answer?.status === 200) return 'live'
  const error = answer && memberOf(answer.body, 'error')
  if (error === undefined || !(answer?.status === 401 || answer?.status === 403)) return 'unknown'
  // Every other refusal is of a key that the server knows: disabled, from elsewhere only, an admin key. It can work
  return memberOf(error, 'code') === 'invalid_api_key' ? 'dead' : 'live'
}

/** Undefined when no JSON came: the key may be live or not. */
async function get(url: string, headers: Record<string, string> = {}): Promise<Answer | undefined> {
  try {
    const response = await fetch(url, { headers, redirect: 'manual', signal: AbortSignal.timeout(answerMsMax) })
    return { status: response.status, headers: response.headers, body: await response.json() }
  } catch {
    return undefined
  }
}

const memberOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? Object.getOwnPropertyDescriptor(value, name)?.value : undefined

async function answersAsKeyhouse({ url }: FoundServer): Promise<boolean> {
  const answer = await get(`${url}/health/live`)
  return answer?.headers.has('x-request-id') === true && memberOf(answer.body, 'status') === 'ok'
}
