/** For tests: an API that answers as the documented shapes say, and the CLI run against it with a terminal of our own. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { makeKey } from '#core/key-format.ts'
import { exitCodeOf } from './keyhouse.ts'
import type { Terminal } from './terminal.ts'

export const adminKey = makeKey('admin', bytes => new Uint8Array(bytes).fill(7))
export const projectKey = makeKey('project', bytes => new Uint8Array(bytes).fill(9))

export type Asked = {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly body: string
}

/** Answers with an object (200), or writes the response itself. */
type Handler = (asked: Asked, response: ServerResponse) => unknown

export type Api = { readonly url: string; readonly asked: Asked[]; close(): Promise<void> }

const envelope = (message: string, code: string | null = null): object => ({
  error: { message, type: 'invalid_request_error', param: null, code },
})

export function refuse(status: number, message: string): Handler {
  return (_asked, response) => {
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(JSON.stringify(envelope(message)))
  }
}

export const list = (data: readonly object[]): object => ({
  object: 'list',
  data,
  first_id: null,
  last_id: null,
  has_more: false,
})

/** @param routes by `GET /v1/…`; all but /health/… need the admin key. */
export async function startApi(routes: Readonly<Record<string, Handler | object>>): Promise<Api> {
  const asked: Asked[] = []
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://api')
    const { method = '' } = request
    const one = { method, path: pathname, query: searchParams, body: (await text(request)).toString() }
    asked.push(one)
    response.setHeader('x-request-id', `req_${asked.length}`)
    const route = pathname === '/health/live' ? { status: 'ok' } : routes[`${method} ${pathname}`]
    if (!pathname.startsWith('/health') && request.headers.authorization !== `Bearer ${adminKey}`)
      return void refuse(401, 'Incorrect API key provided.')(one, response)
    if (route === undefined) return void refuse(404, `Invalid URL (${method} ${pathname}).`)(one, response)
    const result = typeof route === 'function' ? await route(one, response) : route
    if (result !== undefined && !response.headersSent) response.end(JSON.stringify(result))
  }
  const server = createServer((request, response) => {
    answer(request, response).catch(error => response.destroy(error))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const close = async (): Promise<void> => {
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
  }
  // A TCP server's address is never text; that is for Unix sockets
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked, close }
}

export type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string }

export type RunOptions = {
  readonly env?: NodeJS.ProcessEnv
  readonly stdin?: string
  /** Is it a person's terminal? Scripts and pipes unless said. */
  readonly isTTY?: boolean
  readonly nowMs?: number
  readonly home?: string
}

/** A terminal whose output can be read back. */
export function terminalFor({ env = {}, stdin = '', isTTY = false, nowMs, home = '/nowhere' }: RunOptions) {
  const input = new PassThrough()
  input.end(stdin)
  return {
    env,
    platform: 'linux',
    home,
    stdin: Object.assign(input, { isTTY: false }),
    stdout: Object.assign(new PassThrough(), { isTTY }),
    stderr: Object.assign(new PassThrough(), { isTTY, columns: 100 }),
    now: () => nowMs ?? Date.now(),
  } as const satisfies Terminal
}

/** Runs one command line to its end, without a process of its own. */
export async function runCli(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const terminal = terminalFor(options)
  const said = Promise.all([text(terminal.stdout), text(terminal.stderr)])
  const code = await exitCodeOf(argv, terminal)
  terminal.stdout.end()
  terminal.stderr.end()
  const [stdout, stderr] = await said
  return { code, stdout, stderr }
}

/** The same, told where `api` is and with its key. */
export const runOn = (api: Api, argv: readonly string[], options: RunOptions = {}): Promise<Ran> =>
  runCli(argv, { ...options, env: { KEYHOUSE_URL: api.url, KEYHOUSE_ADMIN_KEY: adminKey, ...options.env } })
