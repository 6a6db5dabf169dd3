/** The one listening server: the gateway's routes first, everything else by the fallback. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { answerError, answerMalformed, type ErrorObserver } from './errors.ts'
import { corsHeaders, type ExchangeSettings, HttpExchange } from './exchange.ts'
import { type RouteRow, Router, routeError } from './router.ts'

export type ServerSettings = ExchangeSettings & {
  readonly host: string
  readonly port: number
  readonly headerBytesMax: number
  readonly headersTimeoutMs: number
  readonly keepAliveTimeoutMs: number
}

export type FastRoute = RouteRow & { run(exchange: HttpExchange, parameter: string): Promise<void> }

/** Answers what no fast route does; it has its own error handling. */
export type Fallback = (request: IncomingMessage, response: ServerResponse, exchange: HttpExchange) => void

export type Listening = {
  readonly host: string
  readonly port: number
  /** Takes no new connections, and closes each one as it falls idle. */
  stopAccepting(): void
  close(): Promise<void>
}

export async function listen(
  settings: ServerSettings,
  routes: readonly FastRoute[],
  fallback: Fallback,
  observer: ErrorObserver,
): Promise<Listening> {
  const router = new Router(routes)
  const server = createServer(
    {
      maxHeaderSize: settings.headerBytesMax,
      headersTimeout: settings.headersTimeoutMs,
      // The body has a deadline of its own, with an error of its own; this is the backstop
      requestTimeout: settings.headersTimeoutMs + settings.bodyTimeoutMs + 5_000,
      keepAliveTimeout: settings.keepAliveTimeoutMs,
      connectionsCheckingInterval: 1_000,
      insecureHTTPParser: false,
    },
    (request, response) => {
      const exchange = new HttpExchange(request, response, settings)
      if (stopping) response.shouldKeepAlive = false
      if (request.method === 'OPTIONS') return answerPreflight(exchange)
      const match = router.find(exchange.method, exchange.path)
      if (!('route' in match)) {
        if (match.allowed.length === 0) return fallback(request, response, exchange)
        return answerError(exchange, routeError(exchange.method, exchange.path, match.allowed), observer)
      }
      run(match.route, exchange, match.parameter).catch(error => answerError(exchange, error, observer))
    },
  )
  let stopping = false
  server.on('clientError', (error, socket) => answerMalformed(error, socket as Socket))
  const { port } = await bind(server, settings)
  return {
    host: settings.host,
    port,
    stopAccepting() {
      stopping = true
      server.close()
      server.closeIdleConnections()
    },
    close: () => closeAll(server),
  }
}

// Async, so that what a route throws at once is caught like what it throws later
async function run(route: FastRoute, exchange: HttpExchange, parameter: string): Promise<void> {
  await route.run(exchange, parameter)
}

function bind(server: Server, { host, port }: ServerSettings): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', error => reject(bindError(error, host, port)))
    // A TCP server's address is never text; that is for Unix sockets
    server.listen(port, host, () => resolve(server.address() as AddressInfo))
  })
}

function bindError(error: NodeJS.ErrnoException, host: string, port: number): Error {
  const reasons: Record<string, string> = {
    EADDRINUSE: `Port ${port} on ${host} is in use. Stop the other program, or choose a port with --port or KEYHOUSE_PORT.`,
    EACCES: `Port ${port} needs rights that this user does not have. Choose one above 1023 with --port or KEYHOUSE_PORT.`,
    EADDRNOTAVAIL: `This machine has no address ${host}. Choose one with --host or KEYHOUSE_HOST.`,
    ENOTFOUND: `The host name ${host} is not known. Choose another with --host or KEYHOUSE_HOST.`,
  }
  return new Error(reasons[error.code ?? ''] ?? `Cannot listen on ${host}:${port}: ${error.message}`, { cause: error })
}

function closeAll(server: Server): Promise<void> {
  return new Promise(resolve => {
    if (server.listening) server.close(() => resolve())
    else resolve()
    server.closeAllConnections()
  })
}

const preflightSeconds = '86400'
const headersAllowed =
  'authorization, content-type, x-api-key, openai-organization, openai-project, openai-beta, idempotency-key'

/** Any origin: a key is sent by hand and never by the browser itself, so the origin protects nothing. */
function answerPreflight(exchange: HttpExchange): void {
  const asked = exchange.request.headers['access-control-request-headers']
  exchange.start(204, {
    ...corsHeaders,
    'access-control-allow-methods': 'GET, POST, DELETE, OPTIONS',
    'access-control-allow-headers': typeof asked === 'string' && asked !== '' ? asked : headersAllowed,
    'access-control-max-age': preflightSeconds,
  })
  exchange.end()
}
