/**
 * The control plane over HTTP: every row of the contract becomes a route, every route is authenticated and authorized by
 * the same hook, every error leaves through the same function. It listens nowhere itself; the server hands requests over.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify'
import { z } from 'zod'
import { type Endpoint, emptyBody, isByteStream, isPublic } from '#contract/endpoint.ts'
import { allEndpoints } from '#contract/endpoints.ts'
import { apiError } from '#contract/errors.ts'
import { newRequestId } from '#contract/ids.ts'
import type { Grant } from '#core/grant.ts'
import { authenticate, authorize } from './authenticate.ts'
import { JsonPieces, type RawBody } from './handler.ts'
import { type AnyHandler, handlerOf } from './handlers.ts'
import { parseJson } from './parse-json.ts'
import type { PlatformParts } from './platform.ts'
import { parseQuery } from './query-string.ts'
import { holdsNul, readInput } from './read-input.ts'
import { type Refusals, refuse } from './refuse.ts'
import { routeMissing } from './route-missing.ts'

export type Platform = {
  handle(request: IncomingMessage, response: ServerResponse, requestId: string): void
  close(): Promise<void>
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Undefined where the row is public. */
    grant: Grant | undefined
  }
  interface FastifyContextConfig {
    /** As the row says. */
    rawBody?: boolean
  }
}

/** Bodies of the control plane are small; a backup to restore is a stream and has no such bound. */
const bodyBytesMax = 1_000_000
/** How long whoever asked may take nothing of an answer that is made while it is taken. */
const stallMs = 60_000
/** A model's name, each character percent-encoded. */
const pathPartMax = 2_000

const cors = {
  'access-control-allow-origin': '*',
  'access-control-expose-headers': 'x-request-id, retry-after, retry-after-ms, x-should-retry',
}

export async function createPlatform(parts: PlatformParts): Promise<Platform> {
  const requestIds = new WeakMap<IncomingMessage, string>()
  const refusals: Refusals = { log: parts.log, warn: parts.warn, bodyBytesMax, refused: code => parts.refused(code) }
  const app = createApp(refusals, request => requestIds.get(request) ?? newRequestId())
  readBodies(app)
  for (const { noun, verb, row } of allEndpoints) addRoute(app, parts, row, handlerOf(noun, verb))
  await app.ready()
  return {
    handle(request, response, requestId) {
      requestIds.set(request, requestId)
      for (const [name, value] of Object.entries({ 'x-request-id': requestId, ...cors })) {
        response.setHeader(name, value)
      }
      app.routing(request, response)
    },
    close: () => app.close(),
  }
}

function createApp(refusals: Refusals, genReqId: (request: IncomingMessage) => string): FastifyInstance {
  const app: FastifyInstance = fastify({
    // Never listens: the one server of this process calls handle()
    serverFactory: handler => createServer(handler),
    genReqId,
    bodyLimit: bodyBytesMax,
    // The server drains before the platform closes; Fastify's own 503 would have its own shape
    return503OnClosing: false,
    routerOptions: { maxParamLength: pathPartMax, querystringParser: parseQuery },
    frameworkErrors: (error, request, reply) => refuse(refusals, request, reply, error),
  })
  app.decorateRequest('grant', undefined)
  app.setErrorHandler((error, request, reply) => refuse(refusals, request, reply, error))
  app.setNotFoundHandler((request, reply) =>
    refuse(refusals, request, reply, routeMissing(request.method, request.url)),
  )
  return app
}

const jsonType = /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i

function readBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<Buffer>(jsonType, { parseAs: 'buffer' }, async (request: FastifyRequest, body: Buffer) => {
    if (request.routeOptions.config.rawBody) return body
    return body.length === 0 ? undefined : parseJson(body)
  })
  app.addContentTypeParser('application/gzip', async (_request: FastifyRequest, payload: IncomingMessage) => payload)
}

function addRoute(app: FastifyInstance, parts: PlatformParts, row: Endpoint, run: AnyHandler): void {
  app.route({
    method: row.method,
    url: row.path.replaceAll(/\{(\w+)\}/g, ':$1'),
    exposeHeadRoute: row.method === 'GET' && !isByteStream(row.answer),
    config: { rawBody: row.rawBody === true },
    async onRequest(request) {
      if (!isPublic(row)) {
        request.grant = await authenticate(parts, request.raw, row)
        authorize(request.grant, row)
      }
      checkEncoding(row, request)
    },
    async handler(request, reply) {
      const { grant, params } = request
      // Of a segment that no database can hold there is nothing
      if (holdsNul(params)) throw apiError('not_found', { what: 'thing' })
      const source = { address: parts.clientAddress(request.raw), userAgent: request.headers['user-agent'] }
      const answer = await run(parts, { grant, source, params, ...readRequest(row, request) })
      // Whoever is told that a key is revoked finds it dead
      if (row.method !== 'GET') await parts.learnChanges()
      return send(row, reply, answer)
    },
  })
}

/** A stream is taken as it is; JSON is taken uncompressed, so that its bound is a bound. */
function checkEncoding(row: Endpoint, { headers }: FastifyRequest): void {
  const encoding = headers['content-encoding'] ?? 'identity'
  if (!isByteStream(row.body) && encoding.toLowerCase() !== 'identity') {
    throw apiError('unsupported_content_encoding', { sent: encoding.slice(0, 100) })
  }
}

function readRequest(row: Endpoint, request: FastifyRequest): { query: unknown; body: unknown } {
  const { body, rawBody } = row
  const isStream = request.body instanceof Readable
  if (isByteStream(body) ? !isStream : isStream) {
    throw apiError('wrong_content_type', { sent: request.headers['content-type']?.slice(0, 100) || 'none' })
  }
  return {
    query: readQuery(row, request.query),
    body: rawBody ? readRaw(request) : readBody(body, request.body),
  }
}

/** What a row does not take is refused: whoever sent it meant something by it. A link to a public page may have grown a tail. */
const readQuery = (row: Endpoint, given: unknown): unknown =>
  row.query === undefined && isPublic(row) ? undefined : readInput(row.query ?? noQuery, given)

const noQuery = z.strictObject({})

const readBody = (shape: Endpoint['body'], given: unknown): unknown =>
  isByteStream(shape) ? given : readInput(shape ?? emptyBody, given)

const readRaw = ({ body, headers }: FastifyRequest): RawBody => ({
  bytes: Buffer.isBuffer(body) ? body : Buffer.alloc(0),
  headers,
})

function send(row: Endpoint, reply: FastifyReply, answer: unknown): FastifyReply {
  if (isByteStream(row.answer)) return reply.type(typeOf(answer) ?? row.answer.contentType).send(answer)
  reply.type('application/json')
  return answer instanceof JsonPieces ? sendPieces(reply, answer) : reply.send(JSON.stringify(answer))
}

/** A large answer is made while it is taken; a small one comes whole. */
function sendPieces(reply: FastifyReply, { pieces }: JsonPieces): FastifyReply {
  const [first, second] = [pieces.next(), pieces.next()]
  if (second.done) return reply.send(first.value)
  reply.raw.setTimeout(stallMs, () => reply.raw.destroy())
  return reply.send(Readable.from(joined([first.value, second.value], pieces)))
}

function* joined(begin: readonly Buffer[], rest: Iterator<Buffer>): Generator<Buffer> {
  yield* begin
  for (let next = rest.next(); !next.done; next = rest.next()) yield next.value
}

/** Where the caller chooses among types, the stream says which one it is. */
const typeOf = (stream: unknown): string | undefined =>
  typeof stream === 'object' && stream !== null && 'contentType' in stream ? String(stream.contentType) : undefined
