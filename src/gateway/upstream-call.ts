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
import { LeftUnread } from './left-unread.ts'
import { SseRelay } from './sse-relay.ts'
import { readWhole, statusOfFailure } from './whole-answer.ts'

export type Attempt = { readonly answer: Answer } | { readonly failure: UpstreamFailure }

type Settings = {
  readonly call: Call
  readonly target: Target
  readonly provider: Provider
  /** Adds the headers of a successful answer, when it begins. */
  addHeaders(headers: Record<string, string>): void
  readonly bodyBytesMax: number
  readonly clientStallMs: number
  /** How long a whole answer is still waited for when its client has left. */
  readonly clientLeftMs: number
}

type Controller = Dispatcher.DispatchController

/** Failures past which the provider has not begun to work on the request, or its answer is of no use to anyone. */
const errorBodyBytesMax = 64 * 1024

/** From [DONE] to the end of the answer, which some never send. */
const endMs = 500

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
  /** While the client reads nothing: then it is not the provider that is silent. */
  #stall: NodeJS.Timeout | undefined
  #isAtWork = false
  #heardAtMs = 0
  #silentMs = 0
  /** Once the client has left. */
  #left: LeftUnread | undefined
  #ending: NodeJS.Timeout | undefined

  constructor(settings: Settings) {
    this.#settings = settings
    this.attempt = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  onRequestStart(controller: Controller): void {
    const { cutSwitch } = this.#settings.call
    // Nothing was sent yet
    if (cutSwitch.reason) return controller.abort(cutSwitch.reason)
    this.#isAtWork = true
    this.#heardAtMs = performance.now()
    cutSwitch.onCut(reason => {
      if (reason.outcome === 'client_left') this.#letLeave(controller)
      else controller.abort(reason)
    })
  }

  onResponseStart(controller: Controller, status: number, headers: IncomingHttpHeaders): void {
    this.#status = status
    this.#headers = headers
    const encoding = headers['content-encoding'] || 'identity'
    // Nobody asked for it, and what is in there could be neither counted nor passed on
    if (status === 200 && !/^identity$/i.test(String(encoding)))
      return controller.abort(new Error(`the answer is encoded as ${encoding}`))
    const { ask } = this.#settings.call
    const streams = status === 200 && ask.stream && /^text\/event-stream/i.test(String(headers['content-type']))
    if (streams) this.#relay = new SseRelay(ask.includeUsage)
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    if (this.#relay) this.#take(controller, this.#relay, chunk)
    else this.#collect(controller, chunk)
  }

  onResponseEnd(): void {
    this.#end()
    if (this.#relay && this.#hasAnswer(this.#relay)) return this.#finishStream(this.#relay)
    if (this.#status < 200 || this.#status > 299) return this.#finishRefused()
    this.#finishWhole()
  }

  onResponseError(_controller: Controller | null, error: Error): void {
    this.#end()
    const cut = error instanceof CallCut ? error : this.#settings.call.cutSwitch.reason
    // Once the client has had a byte there is no other answer to give it than the rest of this one
    if (this.#relay && this.#firstByteMs !== null) {
      // All of it has come, whatever becomes of the connection
      if (!cut && this.#relay.finished) return this.#finishStream(this.#relay)
      return this.#succeed(cut?.outcome ?? 'upstream_cut', this.#relay, cutTail(this.#settings.target, cut))
    }
    if (error instanceof CallCut && this.#isAtWork) return this.#endUnseen(error)
    if (cut) return this.#reject(cut)
    this.#resolve({ failure: { error: this.#connectionError(error), tryNext: true } })
  }

  #end(): void {
    this.#hear()
    clearTimeout(this.#stall)
    this.#left?.end()
    clearTimeout(this.#ending)
    this.#settings.call.cutSwitch.onCut(undefined)
  }

  #hear(): void {
    const nowMs = performance.now()
    if (!this.#stall) this.#silentMs = Math.max(this.#silentMs, nowMs - this.#heardAtMs)
    this.#heardAtMs = nowMs
  }

  #take(controller: Controller, relay: SseRelay, chunk: Buffer): void {
    const { events } = relay
    const passed = relay.push(chunk)
    if (relay.events > events) this.#hear()
    if (this.#firstByteMs === null) {
      if (relay.failure !== undefined && relay.events === 0) return this.#failAtOnce(controller, relay.failure)
      if (passed.length > 0 || this.#left) this.#beginStream()
    }
    if (this.#left) this.#left.came(relay, chunk.length)
    else this.#pass(controller, passed)
    this.#expectEnd(controller)
  }

  /** Not while the client takes nothing: who never reads is cut. */
  #expectEnd(controller: Controller): void {
    if (!this.#relay?.finished || this.#stall) return
    this.#ending ??= setTimeout(() => controller.abort(new Error('the answer does not end')), endMs)
  }

  #pass(controller: Controller, passed: Buffer): void {
    const { exchange, cutSwitch } = this.#settings.call
    if (passed.length === 0 || exchange.write(passed) || exchange.closed) return
    controller.pause()
    this.#stall = setTimeout(() => cutSwitch.cut('client_left'), this.#settings.clientStallMs)
    exchange.onDrain(() => this.#resume(controller))
  }

  #resume(controller: Controller): void {
    if (!this.#stall) return
    this.#hear()
    clearTimeout(this.#stall)
    this.#stall = undefined
    controller.resume()
    this.#expectEnd(controller)
  }

  #letLeave(controller: Controller): void {
    this.#left = new LeftUnread(() => controller.abort(new CallCut('client_left')))
    this.#resume(controller)
    const { call, clientLeftMs } = this.#settings
    if (this.#relay) this.#left.came(this.#relay, 0)
    else this.#left.cutAfter(call.ask.stream ? 0 : clientLeftMs)
  }

  // The end -------------------------------------------------------------------------------------------------------------

  #beginStream(): void {
    const { exchange } = this.#settings.call
    this.#firstByteMs = performance.now() - exchange.startedAtMs
    const head = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' }
    this.#settings.addHeaders(head)
    exchange.start(200, head)
  }

  /** A stream that begins with an error is a failure that calls itself 200: the client has had nothing, and the next target may do better. */
  #failAtOnce(controller: Controller, failure: string): void {
    const bytes = Buffer.from(failure)
    this.#status = statusOfFailure(bytes)
    this.#chunks = [bytes]
    this.#finishRefused()
    controller.abort(new Error('the provider gave up'))
  }

  /** Begins it, where all that came was held back. */
  #hasAnswer(relay: SseRelay): boolean {
    if (this.#firstByteMs === null && (relay.tail.length > 0 || relay.usage !== undefined)) this.#beginStream()
    return this.#firstByteMs !== null
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

  /** A provider that was sent a request charges for it. That we stop is nobody's to pay for. */
  #endUnseen(cut: CallCut): void {
    const outcome = this.#left ? 'client_left' : cut.outcome
    if (outcome === 'shutdown') return this.#reject(cut)
    const nothing = {
      usage: undefined,
      serviceTier: undefined,
      tally: undefined,
      head: undefined,
      tail: Buffer.alloc(0),
    }
    const { target } = this.#settings
    const silentMs = this.#silentMs
    this.#resolve({ answer: { target, outcome, ...nothing, silentMs, firstByteMs: null, refusal: cut } })
  }

  #finishStream(relay: SseRelay): void {
    const nothing = Buffer.alloc(0)
    // Without [DONE] and without usage the provider broke off: many clients would take half an answer for a whole one
    const broken = !relay.finished && relay.usage === undefined
    if (this.#left) this.#succeed('client_left', relay, nothing)
    // It has told the client itself
    else if (relay.failure !== undefined) this.#succeed('upstream_cut', relay, nothing)
    else if (broken) this.#succeed('upstream_cut', relay, cutTail(this.#settings.target, undefined))
    else this.#succeed('complete', relay, relay.tail)
  }

  #succeed(outcome: Outcome, relay: SseRelay, tail: Buffer): void {
    const { usage, serviceTier, tally } = relay
    const { target } = this.#settings
    const head = undefined
    const [silentMs, firstByteMs] = [this.#silentMs, this.#firstByteMs]
    this.#resolve({ answer: { target, outcome, usage, serviceTier, tally, silentMs, head, tail, firstByteMs } })
  }

  #finishWhole(): void {
    const { target } = this.#settings
    const tail = this.#chunks.length === 1 ? (this.#chunks[0] ?? Buffer.alloc(0)) : Buffer.concat(this.#chunks)
    const whole = readWhole(tail)
    if (whole === 'unreadable') {
      const error = apiError(
        'upstream_invalid',
        { provider: target.providerName },
        { cause: `${tail.length} bytes that are no JSON object, as ${this.#headers['content-type'] ?? 'no type'}` },
      )
      return this.#resolve({ failure: { error, tryNext: true } })
    }
    if ('failedWith' in whole) {
      this.#status = whole.failedWith
      return this.#finishRefused()
    }
    const head = { 'content-type': 'application/json', 'content-length': String(tail.length) }
    this.#settings.addHeaders(head)
    const outcome = this.#left ? 'client_left' : 'complete'
    const seen = { ...whole, tally: undefined, silentMs: this.#silentMs, firstByteMs: this.#firstByteMs }
    this.#resolve({ answer: { target, outcome, ...seen, head, tail } })
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
