/** The one place where an error becomes an answer. */
import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { ApiError, apiError, errorBody, errorHeaders } from '#contract/errors.ts'
import type { Log, Warn } from '#observe/log.ts'
import type { HttpExchange } from './exchange.ts'

export type ErrorObserver = { readonly log: Log; readonly warn: Warn; refused(code: string): void }

/** An `ApiError` as it is; anything else is a bug, logged in full and told as `internal_error`. */
export function toApiError(error: unknown, requestId: string, { log, warn }: ErrorObserver): ApiError {
  if (error instanceof ApiError) {
    if (error.cause !== undefined)
      warn({ request_id: requestId, code: error.errorCode, err: error.cause }, 'request failed')
    return error
  }
  log.error({ request_id: requestId, err: error }, 'unexpected error')
  return apiError('internal_error', { requestId })
}

export function answerError(exchange: HttpExchange, error: unknown, observer: ErrorObserver): void {
  const known = toApiError(error, exchange.requestId, observer)
  if (exchange.closed) return
  observer.refused(known.errorCode)
  // Headers and perhaps bytes have gone: all that is left to say is that this is not the end of a good answer
  if (exchange.started) return exchange.destroy()
  const body = errorBody(known)
  exchange.start(known.status, {
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(body)),
    ...errorHeaders(known),
    // What is left of the request was not read, so the connection cannot carry another
    ...(exchange.requestCame ? {} : { connection: 'close' }),
  })
  exchange.end(body)
}

/**
 * What node's parser refused: smuggling shapes end here. Before there was a request to answer, or in the middle of one.
 * @param begun whether the answer to an earlier request of this connection is on its way: then there is no place for another
 */
export function answerMalformed(error: NodeJS.ErrnoException, socket: Duplex, begun: boolean): void {
  if (begun || !socket.writable || error.code === 'ECONNRESET') socket.destroy()
  else answerBare(socket, malformed(error))
}

/** Answers where node gives us a connection and no response to write to. Ends the connection. */
export function answerBare(socket: Duplex, error: ApiError): void {
  const body = errorBody(error)
  const headers = [
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    ...Object.entries(errorHeaders(error)).map(([name, value]) => `${name}: ${value}`),
    'connection: close',
  ]
  socket.end(`${headers.join('\r\n')}\r\n\r\n${body}`)
}

function malformed(error: NodeJS.ErrnoException): ApiError {
  if (error.code === 'HPE_HEADER_OVERFLOW') return apiError('headers_too_large')
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return apiError('headers_timeout')
  return apiError('malformed_http', { reason: (error.code ?? 'unreadable').slice(0, 100) })
}
