/** The one place where the control plane turns an error into an answer. Fastify's own shapes never leave. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ApiError, apiError, errorBody, errorHeaders } from '#contract/errors.ts'
import type { Log, Warn } from '#observe/log.ts'
import { isDatabaseAway } from '#storage/unavailable.ts'

export type Refusals = {
  readonly log: Log
  readonly warn: Warn
  readonly bodyBytesMax: number
  refused(code: string): void
}

export function refuse(refusals: Refusals, request: FastifyRequest, reply: FastifyReply, error: unknown): void {
  const known = toApiError(refusals, request, error)
  refusals.refused(known.errorCode)
  // What is left of the body was not read, so the connection cannot carry another request
  if (hasBody(request) && !request.raw.complete) reply.header('connection', 'close')
  reply.code(known.status).headers(errorHeaders(known)).type('application/json').send(errorBody(known))
}

const hasBody = ({ headers }: FastifyRequest): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0

function toApiError({ log, warn, bodyBytesMax }: Refusals, request: FastifyRequest, error: unknown): ApiError {
  const known = error instanceof ApiError ? error : translate(request, error, bodyBytesMax)
  if (known === undefined) {
    log.error({ request_id: request.id, err: error }, 'unexpected error')
    return apiError('internal_error', { requestId: request.id })
  }
  if (known.cause !== undefined) {
    warn({ request_id: request.id, code: known.errorCode, err: known.cause }, 'request failed')
  }
  return known
}

/** Errors of Fastify's and of the database, in our words; undefined is a bug of ours. */
function translate(request: FastifyRequest, error: unknown, bytesMax: number): ApiError | undefined {
  const { method, url, headers } = request
  switch ((error as { code?: unknown } | null)?.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return apiError('body_too_large', { bytesMax, setting: null })
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return apiError('wrong_content_type', { sent: headers['content-type']?.slice(0, 100) || 'none' })
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
    case 'ECONNRESET':
      return apiError('malformed_http', { reason: 'the body ended too early' })
    case 'FST_ERR_BAD_URL':
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return apiError('unknown_url', { method, path: url.slice(0, 200) })
    default:
      return isDatabaseAway(error) ? apiError('storage_unavailable', undefined, { cause: error }) : undefined
  }
}
