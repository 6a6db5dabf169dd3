/** The one listening server: the gateway's routes first, everything else by the fallback. */
import { constants } from 'node:crypto'
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { apiError } from '#contract/errors.ts'
import { answerBare, answerError, answerMalformed, type ErrorObserver } from './errors.ts'
import { corsHeaders, type ExchangeSettings, HttpExchange } from './exchange.ts'
import { type RouteRow, Router, routeError } from './router.ts'

export type ServerSettings = ExchangeSettings & {
  /** PEM; undefined: plain HTTP. Every client is asked for a certificate, and what it sends is judged elsewhere. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined
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
  /** Takes what comes, but closes each connection after its answer, so that clients are gone before the door shuts. */
  windDown(): void
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
  let stopping = false
  const exchangeSettings = { ...settings, isStopping: () => stopping }
  /** The newest request of each connection. */
  const exchanges = new WeakMap<Duplex, HttpExchange>()
  const open = (request: IncomingMessage, response: ServerResponse): HttpExchange => {
    const exchange = new HttpExchange(request, response, exchangeSettings)
    exchanges.set(request.socket, exchange)
    return exchange
  }
  const server = create(
    settings,
    {
      maxHeaderSize: settings.headerBytesMax,
      headersTimeout: settings.headersTimeoutMs,
      // The body has a deadline of its own, with an error of its own; this is the backstop
      requestTimeout: settings.headersTimeoutMs + settings.bodyTimeoutMs + 5_000,
      keepAliveTimeout: settings.keepAliveTimeoutMs,
      connectionsCheckingInterval: 1_000,
      insecureHTTPParser: false,
      // We look for it ourselves: node would refuse with an empty page
      requireHostHeader: false,
    },
    (request, response) => {
      // What follows a request that was refused before it had come is nobody's: its end may be anywhere
      if (request.socket.writableEnded) return void request.socket.destroy()
      const exchange = open(request, response)
      if (stopping) response.shouldKeepAlive = false
      if (!hasOneHost(request)) return answerError(exchange, hostMissing(), observer)
      if (request.method === 'OPTIONS') return answerPreflight(exchange)
      const match = router.find(exchange.method, exchange.path)
      if (!('route' in match)) {
        if (match.allowed.length === 0) return fallback(request, response, exchange)
        return answerError(exchange, routeError(exchange.method, exchange.path, match.allowed), observer)
      }
      run(match.route, exchange, match.parameter).catch(error => answerError(exchange, error, observer))
    },
  )
  allowHalfOpen(server)
  server.on(settings.tls ? 'secureConnection' : 'connection', (socket: Socket) => {
    socket.once('end', () => exchanges.get(socket)?.onHalfClosed())
    closeGently(socket, () => exchanges.get(socket)?.requestCame === false)
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket) =>
    answerMalformed(error, socket, exchanges.get(socket)?.begun === true),
  )
  server.on('checkExpectation', (request, response) => answerError(open(request, response), unexpected(), observer))
  server.on('connect', ({ url = '' }, socket) => answerBare(socket, routeError('CONNECT', url, ['GET', 'POST'])))
  const { port } = await bind(server, settings)
  return {
    host: settings.host,
    port,
    windDown() {
      stopping = true
    },
    stopAccepting() {
      stopping = true
      server.close()
      server.closeIdleConnections()
    },
    close: () => closeAll(server),
  }
}

/** The handshake proves that the client has the key of what it sends; whom it must be issued by depends on its API key. */
function create({ tls, headersTimeoutMs }: ServerSettings, options: ServerOptions, listener: RequestListener): Server {
  if (!tls) return createServer(options, listener)
  const askClients = {
    requestCert: true,
    rejectUnauthorized: false,
    // A resumed session would remember the client's own certificate and have lost those that vouch for it
    secureOptions: constants.SSL_OP_NO_TICKET,
  }
  return createSecureServer({ ...options, ...tls, ...askClients, handshakeTimeout: headersTimeoutMs }, listener)
}

// Async, so that what a route throws at once is caught like what it throws later
async function run(route: FastRoute, exchange: HttpExchange, parameter: string): Promise<void> {
  await route.run(exchange, parameter)
}

/** A client may end its sending side after the request and wait; `HttpExchange` tells it from one that has gone. */
function allowHalfOpen(server: Server): void {
  // As old as node:http and never typed: https://github.com/nodejs/node/blob/main/lib/_http_server.js
  const untyped = server as Server & { httpAllowHalfOpen: boolean }
  untyped.httpAllowHalfOpen = true
}

/** So long the rest of a request is read away that was refused before it had come. */
const lingerMs = 1_000

/**
 * What was sent and is unread when a connection is closed makes the kernel take back the answer too: the client of a body that is too
 * large would see a reset and no error. So the rest is read for a while, after our side has ended.
 */
function closeGently(socket: Socket, isStillComing: () => boolean): void {
  const destroySoon = socket.destroySoon.bind(socket)
  socket.destroySoon = () => {
    if (!isStillComing()) return destroySoon()
    socket.end()
    const timer = setTimeout(() => socket.destroy(), lingerMs)
    socket.once('close', () => clearTimeout(timer))
  }
}

/** With two, each server on the way may believe another one. */
function hasOneHost({ httpVersion, rawHeaders }: IncomingMessage): boolean {
  let hosts = 0
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]
    if (name?.length === 4 && name.toLowerCase() === 'host') hosts += 1
  }
  return hosts === 1 || (hosts === 0 && httpVersion === '1.0')
}

const hostMissing = () => apiError('malformed_http', { reason: 'it needs exactly one Host header' })
const unexpected = () => apiError('malformed_http', { reason: 'its Expect header is not 100-continue' })

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
