/** One request and its answer over node:http, with the bounds and deadlines that every request has. */
import type { X509Certificate } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { apiError } from '#contract/errors.ts'
import { newRequestId } from '#contract/ids.ts'

export type ExchangeSettings = {
  readonly bodyBytesMax: number
  /** From the end of the headers to the end of the body. */
  readonly bodyTimeoutMs: number
  /** Where a request really comes from, behind the proxies that the operator trusts. */
  clientAddress(request: IncomingMessage): string
  /** What the client proved to be by mutual TLS, here or at such a proxy. @throws ApiError when unreadable */
  clientCertificates(request: IncomingMessage): readonly X509Certificate[]
}

/** How the server is doing, which an answer may have to follow. */
export type ServerState = { isStopping(): boolean }

const exposedHeaders = [
  'x-request-id',
  'openai-organization',
  'openai-project',
  'openai-processing-ms',
  'openai-version',
  'retry-after',
  'retry-after-ms',
  'x-should-retry',
  'x-ratelimit-limit-requests',
  'x-ratelimit-limit-tokens',
  'x-ratelimit-remaining-requests',
  'x-ratelimit-remaining-tokens',
  'x-ratelimit-reset-requests',
  'x-ratelimit-reset-tokens',
].join(', ')

export const corsHeaders = {
  'access-control-allow-origin': '*',
  'access-control-expose-headers': exposedHeaders,
} as const

/** How long after its end a client is asked whether it is still there. */
const probesMs = [0, 50, 1_000]

/** Beyond it, the copy costs more than a second piece does. */
const onePieceBytesMax = 16 * 1024

/** What every reader of a stream skips. */
const comment = Buffer.from(': \n\n')

/** The end of a body in chunks (RFC 9112, section 7.1). */
const lastFrame = '0\r\n\r\n'

/** A piece of such a body. Node would write it in four, each by itself; latin1 is a character for each byte. */
function framed(bytes: Buffer): string | Buffer {
  if (bytes.length === 0) return ''
  const size = bytes.length.toString(16)
  if (bytes.length <= onePieceBytesMax) return `${size}\r\n${bytes.toString('latin1')}\r\n`
  return Buffer.concat([Buffer.from(`${size}\r\n`), bytes, Buffer.from('\r\n')])
}

export class HttpExchange {
  readonly requestId = newRequestId()
  readonly startedAtMs = performance.now()
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly path: string
  readonly query: string
  readonly #settings: ExchangeSettings & ServerState
  #left = false
  #bodyCame = false
  #isStream = false
  /** Its pieces are framed here, and not by node. */
  #isFramed = false
  #clientAddress: string | undefined
  #onLeft: (() => void) | undefined

  constructor(request: IncomingMessage, response: ServerResponse, settings: ExchangeSettings & ServerState) {
    this.request = request
    this.response = response
    this.#settings = settings
    const url = request.url ?? '/'
    const question = url.indexOf('?')
    this.path = question < 0 ? url : url.slice(0, question)
    this.query = question < 0 ? '' : url.slice(question + 1)
    response.on('close', () => {
      if (response.writableFinished) return
      this.#left = true
      this.#onLeft?.()
    })
  }

  get method(): string {
    return this.request.method ?? 'GET'
  }

  get headers() {
    return this.request.headers
  }

  get rawHeaders(): readonly string[] {
    return this.request.rawHeaders
  }

  /** Worked out once: it is asked for when the call begins, and when it is settled. */
  get clientAddress(): string {
    this.#clientAddress ??= this.#settings.clientAddress(this.request)
    return this.#clientAddress
  }

  clientCertificates(): readonly X509Certificate[] {
    return this.#settings.clientCertificates(this.request)
  }

  get closed(): boolean {
    return this.#left || this.response.writableEnded
  }

  get started(): boolean {
    return this.response.headersSent
  }

  /** Its answer is on the way, and not yet out. */
  get begun(): boolean {
    return this.started && !this.response.writableFinished
  }

  /** All of the request is here, also where node has yet to say so: it hands out the last piece before it notes the end. */
  get requestCame(): boolean {
    return this.#bodyCame || this.request.complete
  }

  onClientLeft(listener: () => void): void {
    if (this.#left) listener()
    else this.#onLeft = listener
  }

  onDrain(listener: () => void): void {
    this.response.once('drain', listener)
  }

  /** The whole JSON body, at once where it has come. @throws ApiError when it is too large, too slow, or not JSON by its own word. */
  body(): Buffer | Promise<Buffer> {
    const { request } = this
    const { headers } = request
    const type = headers['content-type'] ?? ''
    if (!/^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(type)) {
      throw apiError('wrong_content_type', { sent: type.slice(0, 100) || 'none' })
    }
    const encoding = headers['content-encoding'] ?? 'identity'
    if (encoding.toLowerCase() !== 'identity') {
      throw apiError('unsupported_content_encoding', { sent: encoding.slice(0, 100) })
    }
    const { bodyBytesMax: bytesMax } = this.#settings
    const length = Number(headers['content-length'])
    if (length > bytesMax) throw apiError('body_too_large', { bytesMax, setting: 'body-bytes-max' })
    // A small body mostly comes in one piece with its headers: then there is nothing to listen to, and no deadline to set
    if (length !== request.readableLength) return this.#collect()
    this.#bodyCame = true
    return request.read() ?? Buffer.alloc(0)
  }

  #collect(): Promise<Buffer> {
    const { bodyBytesMax: bytesMax, bodyTimeoutMs: timeoutMs } = this.#settings
    const { request } = this
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = []
      let bytes = 0
      const timer = setTimeout(() => reject(apiError('body_timeout', { timeoutMs })), timeoutMs)
      const fail = (error: Error): void => {
        clearTimeout(timer)
        reject(error)
      }
      request.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > bytesMax) fail(apiError('body_too_large', { bytesMax, setting: 'body-bytes-max' }))
        else chunks.push(chunk)
      })
      request.on('end', () => {
        clearTimeout(timer)
        resolve(chunks.length === 1 ? (chunks[0] ?? Buffer.alloc(0)) : Buffer.concat(chunks, bytes))
      })
      // The client went away in the middle of its own request: nobody is left to read the answer
      request.on('error', fail)
      request.on('aborted', () => fail(apiError('malformed_http', { reason: 'the body ended too early' })))
    })
  }

  start(status: number, headers: Record<string, string>): void {
    if (this.response.headersSent || this.#left) return
    // Else the client sends its next request on a connection that is about to go
    if (this.#settings.isStopping()) this.response.shouldKeepAlive = false
    this.#isStream = headers['content-type']?.startsWith('text/event-stream') === true
    // For browsers only, which say so with an Origin: nobody else reads these headers, and they are long
    const cors = this.request.headers.origin === undefined ? undefined : corsHeaders
    this.response.writeHead(status, { ...headers, 'x-request-id': this.requestId, ...cors })
    this.#isFramed = this.#isStream && this.response.chunkedEncoding
    if (this.#isFramed) this.response.chunkedEncoding = false
  }

  write(chunk: Buffer): boolean {
    if (this.#left) return true
    return this.#isFramed ? this.response.write(framed(chunk), 'latin1') : this.response.write(chunk)
  }

  end(chunk?: Buffer | string): void {
    if (this.#left) return
    if (this.#isFramed) {
      if (chunk !== undefined) this.write(Buffer.from(chunk))
      this.response.end(lastFrame, 'latin1')
      return
    }
    // Node sends headers and a body in one piece when the body is a string; latin1 is a character for each byte
    const fitsOnePiece = chunk instanceof Buffer && chunk.length <= onePieceBytesMax
    if (fitsOnePiece) this.response.end(chunk.toString('latin1'), 'latin1')
    else this.response.end(chunk)
  }

  destroy(): void {
    this.response.destroy()
  }

  /** The client has ended its sending side: it may wait for the answer, or be gone. */
  onHalfClosed(): void {
    for (const ms of probesMs) setTimeout(() => this.#probe(), ms).unref()
  }

  /** Only a write shows whether somebody is there: what every client skips, a comment in a stream, else an interim answer. */
  #probe(): void {
    const { response, request } = this
    if (this.closed) return
    if (response.headersSent) {
      if (this.#isStream) this.write(comment)
    } else if (request.httpVersion !== '1.0') response.writeContinue()
  }
}
