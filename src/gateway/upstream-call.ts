/**
 * One request to one provider, from undici's events to one outcome. A stream's chunks go to the client as they come, at
 * the client's pace; a whole answer and everything that is not a success are collected within bounds.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { type Dispatcher, errors as undici } from 'undici'
import { type ApiError, apiError, errorBody } from '#contract/errors.ts'
import type { Target } from '#core/catalogue.ts'
import type { Provider, UpstreamFailure } from '#providers/contract.ts'
import type { Outcome } from '#storage/usage.ts'
import { CallCut } from './active-calls.ts'
import type { Answer } from './answer.ts'
import type { Call } from './call.ts'
import { findServiceTier } from './service-tier.ts'
import { SseRelay } from './sse-relay.ts'
import { findUsage } from './usage-in-body.ts'

export type Attempt = { readonly answer: Answer } | { readonly failure: UpstreamFailure }

type Settings = {
  readonly call: Call
  readonly target: Target
  readonly provider: Provider
  /** Headers of a successful answer, made when it begins. */
  headers(): Record<string, string>
  readonly bodyBytesMax: number
  readonly clientStallMs: number
}

type Controller = Dispatcher.DispatchController

/** Failures past which the provider has not begun to work on the request, or its answer is of no use to anyone. */
const errorBodyBytesMax = 64 * 1024

export class UpstreamCall implements Dispatcher.DispatchHandler {
  readonly attempt: Promise<Attempt>
  readonly #settings: Settings
  #resolve: (attempt: Attempt) => void = () => undefined
  #reject: (error: unknown) => void = () => undefined
  #status = 0
  #headers: IncomingHttpHeaders = {}
  #relay: SseRelay | undefined
  #chunks: Buffer[] = []
  #bytes = 0
  #firstByteMs: number | null = null
  #stall: NodeJS.Timeout | undefined

  constructor(settings: Settings) {
    this.#settings = settings
    this.attempt = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  onRequestStart(controller: Controller): void {
    this.#settings.call.cutSwitch.onCut(reason => controller.abort(reason))
  }

  onResponseStart(_controller: Controller, status: number, headers: IncomingHttpHeaders): void {
    this.#status = status
    this.#headers = headers
    const { ask } = this.#settings.call
    const streams = status === 200 && ask.stream && /^text\/event-stream/i.test(String(headers['content-type']))
    if (streams) this.#relay = new SseRelay(ask.includeUsage)
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    if (this.#relay) this.#pass(controller, this.#relay, chunk)
    else this.#collect(controller, chunk)
  }

  onResponseEnd(): void {
    this.#end()
    if (this.#relay && this.#firstByteMs !== null) return this.#finishStream(this.#relay)
    if (this.#status < 200 || this.#status > 299) return this.#finishRefused()
    this.#finishWhole()
  }

  onResponseError(_controller: Controller | null, error: Error): void {
    this.#end()
    const cut = error instanceof CallCut ? error : this.#settings.call.cutSwitch.reason
    // Once the client has had a byte there is no other answer to give it than the rest of this one
    if (this.#relay && this.#firstByteMs !== null) {
      return this.#succeed(cut?.outcome ?? 'upstream_cut', this.#relay, cutTail(this.#settings.target, cut))
    }
    if (cut) return this.#reject(cut)
    this.#resolve({ failure: { error: this.#connectionError(error), tryNext: true } })
  }

  #end(): void {
    clearTimeout(this.#stall)
    this.#settings.call.cutSwitch.onCut(undefined)
  }

  #pass(controller: Controller, relay: SseRelay, chunk: Buffer): void {
    const { exchange } = this.#settings.call
    if (this.#firstByteMs === null) this.#beginStream()
    const passed = relay.push(chunk)
    if (passed.length === 0 || exchange.write(passed) || exchange.closed) return
    controller.pause()
    this.#stall = setTimeout(() => controller.abort(new CallCut('client_left')), this.#settings.clientStallMs)
    exchange.onDrain(() => {
      clearTimeout(this.#stall)
      controller.resume()
    })
  }

  #beginStream(): void {
    const { exchange } = this.#settings.call
    this.#firstByteMs = performance.now() - exchange.startedAtMs
    exchange.start(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      ...this.#settings.headers(),
    })
  }

  #collect(controller: Controller, chunk: Buffer): void {
    this.#bytes += chunk.length
    if (this.#status > 299 && this.#bytes > errorBodyBytesMax) return
    if (this.#bytes > this.#settings.bodyBytesMax) {
      controller.abort(new RangeError(`the answer is longer than ${this.#settings.bodyBytesMax} bytes`))
      return
    }
    this.#chunks.push(chunk)
  }

  #finishStream(relay: SseRelay): void {
    // Without [DONE] and without usage the provider broke off: many clients would take half an answer for a whole one
    const broken = !relay.finished && relay.usage === undefined
    if (broken) this.#succeed('upstream_cut', relay, cutTail(this.#settings.target, undefined))
    else this.#succeed('complete', relay, relay.tail)
  }

  #succeed(outcome: Outcome, relay: SseRelay, tail: Buffer): void {
    const { usage, serviceTier, tally } = relay
    const { target } = this.#settings
    const head = undefined
    const firstByteMs = this.#firstByteMs
    this.#resolve({ answer: { target, outcome, usage, serviceTier, tally, head, tail, firstByteMs } })
  }

  #finishWhole(): void {
    const { target } = this.#settings
    const tail = this.#chunks.length === 1 ? (this.#chunks[0] ?? Buffer.alloc(0)) : Buffer.concat(this.#chunks)
    const usage = findUsage(tail)
    if (usage === undefined && !isJsonObject(tail)) {
      const error = apiError(
        'upstream_invalid',
        { provider: target.providerName },
        { cause: `${tail.length} bytes that are no JSON object, as ${this.#headers['content-type'] ?? 'no type'}` },
      )
      return this.#resolve({ failure: { error, tryNext: true } })
    }
    const head = {
      'content-type': 'application/json',
      'content-length': String(tail.length),
      ...this.#settings.headers(),
    }
    const serviceTier = findServiceTier(tail)
    const answer = { target, usage, serviceTier, tally: undefined, head, tail, firstByteMs: this.#firstByteMs }
    this.#resolve({ answer: { outcome: 'complete', ...answer } })
  }

  #finishRefused(): void {
    const { provider, target } = this.#settings
    const body = Buffer.concat(this.#chunks).toString('utf8')
    this.#resolve({ failure: provider.classify(target, this.#status, this.#headers, body) })
  }

  #connectionError(error: Error): ApiError {
    const provider = this.#settings.target.providerName
    const slow =
      error instanceof undici.HeadersTimeoutError ||
      error instanceof undici.BodyTimeoutError ||
      error instanceof undici.ConnectTimeoutError
    if (slow) return apiError('upstream_timeout', { provider }, { cause: error })
    return apiError(this.#status === 200 ? 'upstream_invalid' : 'upstream_unreachable', { provider }, { cause: error })
  }
}

/** An error event, and no `[DONE]`: SDKs raise it, and nobody takes the half for the whole. */
function cutTail(target: Target, cut: CallCut | undefined): Buffer {
  if (cut?.outcome === 'client_left') return Buffer.alloc(0)
  const error = cut?.told ?? apiError('stream_cut', { provider: target.providerName })
  return Buffer.from(`data: ${errorBody(error)}\n\n`)
}

function isJsonObject(bytes: Buffer): boolean {
  try {
    const parsed: unknown = JSON.parse(bytes.toString('utf8'))
    return typeof parsed === 'object' && parsed !== null
  } catch {
    return false
  }
}
