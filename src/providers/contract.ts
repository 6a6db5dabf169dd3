/**
 * What an adapter must answer. Shared code never asks "which provider is it": the adapter answers for itself, and
 * everything here but `prepare` is pure, so that an adapter can be tested with strings and no network.
 *
 * All providers of today speak OpenAI's wire format, so bytes pass unchanged. A provider that does not gets its
 * translator here when it comes.
 */
import type { ApiError } from '#contract/errors.ts'

export type UpstreamEndpoint = '/chat/completions' | '/completions' | '/embeddings'

export type UpstreamTarget = {
  readonly providerName: string
  readonly baseUrl: string | null
  readonly credential: string | null
  readonly upstreamModel: string
}

/** Where and how a request goes: an HTTP origin, reached over TCP or over a Unix socket of this machine. */
export type UpstreamAddress = {
  readonly origin: string
  readonly socketPath?: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
}

export type UpstreamFailure = {
  readonly error: ApiError
  /** Whether another target may have better luck. */
  readonly tryNext: boolean
}

export type Provider = {
  readonly adapter: string
  /** Makes sure that the upstream can be called, as in starting a child process. @throws ApiError when it cannot. */
  prepare?(target: UpstreamTarget): Promise<void>
  address(target: UpstreamTarget, endpoint: UpstreamEndpoint): UpstreamAddress
  /** An answer outside 2xx: what the caller is told. */
  classify(target: UpstreamTarget, status: number, headers: UpstreamHeaders, body: string): UpstreamFailure
}

export type UpstreamHeaders = Readonly<Record<string, string | string[] | undefined>>
