/**
 * The API as the commands call it. Every request has a deadline, and every way in which one can fail becomes a CliError
 * with its exit code and a sentence that says what to do.
 */
import { CliError } from './exit.ts'
import { notKeyhouse, refused, unreachable } from './failures.ts'
import { type AdminKeyFound, checkAdminKey, type FoundServer } from './find-server.ts'
import type { Page } from './wire.ts'

// Discovering a provider's models is the slowest: the server itself waits for the provider
const answerMsMax = 60_000
// A backup of a large database, a model over a slow line: as long as something comes, it may take as long as it takes
export const silenceMsMax = 240_000
const pageSize = 100
const pagesMax = 200

type Query = Readonly<Record<string, string | number | undefined>>

export type Client = {
  readonly server: FoundServer
  readonly key: string
  get<Answer>(path: string, query?: Query): Promise<Answer>
  post<Answer>(path: string, body: object): Promise<Answer>
  delete<Answer>(path: string): Promise<Answer>
  /** All pages of a list. */
  list<Item>(path: string, query?: Query): Promise<Item[]>
  /** The pieces of a body that may take long. */
  stream(method: 'GET' | 'POST', path: string, body?: object): Promise<AsyncIterable<Uint8Array>>
}

export function createClient(server: FoundServer, found: AdminKeyFound): Client {
  const key = checkAdminKey(found)
  const send = (request: Outgoing): Promise<Response> => ask(server, { ...request, key, keyFrom: found.from })
  const answer = async <Answer>(request: Outgoing): Promise<Answer> => readJson(await send(request), server)
  const client: Client = {
    server,
    key,
    get: (path, query = {}) => answer({ method: 'GET', path: withQuery(path, query) }),
    post: (path, body) => answer({ method: 'POST', path, body }),
    delete: path => answer({ method: 'DELETE', path }),
    list: (path, query = {}) => allPages(client, path, query),
    async stream(method, path, body) {
      const silence = silenceDeadline()
      const response = await send({ method, path, body, signal: silence.signal })
      return pieces(response, silence, server)
    },
  }
  return client
}

type Outgoing = {
  readonly method: string
  readonly path: string
  readonly body?: object | undefined
  readonly signal?: AbortSignal
}

/** One request. @throws CliError unless the answer's status is a good one. */
export async function ask(
  server: FoundServer,
  { method, path, body, key, keyFrom, signal }: Outgoing & { key?: string; keyFrom?: string },
): Promise<Response> {
  const headers = {
    ...(key !== undefined && { authorization: `Bearer ${key}` }),
    ...(body !== undefined && { 'content-type': 'application/json' }),
  }
  const options = {
    method,
    headers,
    body: body === undefined ? null : JSON.stringify(body),
    redirect: 'manual',
  } as const
  try {
    const response = await fetch(server.url + path, { ...options, signal: signal ?? AbortSignal.timeout(answerMsMax) })
    if (response.ok) return response
    const requestId = response.headers.get('x-request-id') ?? undefined
    throw refused(server, { status: response.status, text: await response.text(), requestId, keyFrom })
  } catch (error) {
    throw error instanceof CliError ? error : unreachable(server, error)
  }
}

async function readJson<Answer>(response: Response, server: FoundServer): Promise<Answer> {
  const text = await response.text().catch((error: unknown) => {
    throw unreachable(server, error)
  })
  try {
    // The server's contract gives the shape; see wire.ts.
    return JSON.parse(text) as Answer
  } catch {
    throw notKeyhouse(server, 'its answer is not JSON')
  }
}

function withQuery(path: string, query: Query): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value))
  return search.size === 0 ? path : `${path}?${search}`
}

async function allPages<Item>(client: Client, path: string, query: Query): Promise<Item[]> {
  const items: Item[] = []
  let after: string | undefined
  for (let pages = 0; pages < pagesMax; pages++) {
    const page: Page<Item> = await client.get(path, { limit: pageSize, ...query, after })
    items.push(...page.data)
    after = page.next ?? page.last_id ?? undefined
    if (!page.has_more || after === undefined) return items
  }
  throw new CliError('failed', `${path} has more than ${pagesMax * pageSize} entries; narrow the question.`)
}

type SilenceDeadline = { readonly signal: AbortSignal; heard(): void; stop(): void }

function silenceDeadline(): SilenceDeadline {
  const controller = new AbortController()
  const tooSilent = (): void => controller.abort(new DOMException('nothing came for too long', 'TimeoutError'))
  // The open connection keeps the process alive, and where none came about nothing should
  const timer = setTimeout(tooSilent, silenceMsMax).unref()
  return { signal: controller.signal, heard: () => timer.refresh(), stop: () => clearTimeout(timer) }
}

async function* pieces(response: Response, silence: SilenceDeadline, server: FoundServer): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of response.body ?? []) {
      silence.heard()
      yield piece
    }
  } catch (error) {
    throw unreachable(server, error)
  } finally {
    silence.stop()
  }
}
