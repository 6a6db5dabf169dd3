/** One HTTP request and its answer, as the gateway sees it: no framework, so that a test can be one too. */

import type { X509Certificate } from 'node:crypto'

export type HeaderValue = string | string[] | undefined
export type Headers = Readonly<Record<string, HeaderValue>>

export type Exchange = {
  readonly requestId: string
  readonly method: string
  readonly path: string
  /** What stands after the `?`, still encoded; empty when there is nothing. */
  readonly query: string
  readonly headers: Headers
  /** Names and values in turn, as they arrived: only here can a header that was sent twice be seen. */
  readonly rawHeaders: readonly string[]
  readonly clientAddress: string
  /** What the client proved to be by mutual TLS: its own certificate, then its chain. @throws ApiError when unreadable */
  clientCertificates(): readonly X509Certificate[]
  /** Of the monotonic clock, in milliseconds. */
  readonly startedAtMs: number
  /** True once the client has gone, or the answer was ended. */
  readonly closed: boolean
  /** The whole JSON body within its bounds, at once where it has come. @throws ApiError when too large, too slow, or of another type. */
  body(): Buffer | Promise<Buffer>
  /** Calls back, once, when the client goes away before the answer has ended; at once when it already has. */
  onClientLeft(listener: () => void): void
  /** Calls back, once, when the client has read enough for more to be written. */
  onDrain(listener: () => void): void
  start(status: number, headers: Record<string, string>): void
  /** False when the client reads slower than we write: wait for `onDrain`. */
  write(chunk: Buffer): boolean
  end(chunk?: Buffer | string): void
  /** Cuts the connection, so that the client cannot take half an answer for a whole one. */
  destroy(): void
}
