/**
 * Keeps what is said in calls of projects that asked for it: never the headers, and with our own keys masked. It stands beside
 * the call and never in its way: what does not fit in memory, or what the database does not take, is dropped, counted and told.
 */
import { type CallPayload, insertPayloads } from '#storage/call-payloads.ts'
import type { Database } from '#storage/database.ts'
import type { Exchange } from './exchange.ts'

/** Of all calls in flight and all that wait for the database, together. */
export const captureBytesMax = 64 * 1024 * 1024
/** One statement takes at most so many calls, or so many bytes. */
const batchCallsMax = 200
const batchBytesMax = 4 * 1024 * 1024
const writeEveryMs = 500
const triesMax = 3
const warnEveryMs = 60_000
/** A stopping server gives what waits so long. */
const flushMs = 5_000

export type CaptureSettings = {
  readonly write: (payloads: readonly CallPayload[]) => Promise<void>
  /** Milliseconds since 1970. */
  readonly wallClock: () => number
  /** Hears of calls that were not kept, for the metrics. */
  readonly dropped: (count: number) => void
  readonly warn: (details: object, message: string) => void
  readonly bytesMax?: number
}

/** As much of a call as is needed here. */
type WatchedCall = {
  readonly exchange: Exchange
  readonly grant: { readonly projectId: string | null; readonly capture: { readonly bytesMax: number } | null }
  readonly body: { readonly raw: Buffer }
}

type Waiting = { readonly payload: CallPayload; readonly bytes: number }

export class PayloadCapture {
  readonly #settings: CaptureSettings
  readonly #timer: NodeJS.Timeout
  #waiting: Waiting[] = []
  #bytes = 0
  #writing: Promise<void> | undefined
  #dropped = 0
  #warnedAtMs = Number.NEGATIVE_INFINITY

  constructor(settings: CaptureSettings) {
    this.#settings = settings
    this.#timer = setInterval(() => this.#begin(), writeEveryMs)
    this.#timer.unref()
  }

  /** Does the work on a call that remembers what is said in it; where nothing is captured, on the call itself, at no cost. */
  during<Watched extends WatchedCall>(call: Watched, work: (call: Watched) => Promise<void>): Promise<void> {
    const { capture, projectId } = call.grant
    if (!capture || projectId === null) return work(call)
    return this.#capture(call, work, { projectId, bytesMax: capture.bytesMax })
  }

  async #capture<Watched extends WatchedCall>(
    call: Watched,
    work: (call: Watched) => Promise<void>,
    { projectId, bytesMax }: { projectId: string; bytesMax: number },
  ): Promise<void> {
    const { exchange, body } = call
    const about = { requestId: exchange.requestId, capturedAtMs: this.#settings.wallClock(), projectId }
    const captured = new CapturedExchange(exchange, body.raw, bytesMax, {
      reserve: bytes => this.#reserve(bytes),
      done: said => this.#take(said && { ...about, ...said }),
      release: bytes => {
        this.#bytes -= bytes
      },
    })
    try {
      await work({ ...call, exchange: captured })
    } finally {
      captured.finish()
    }
  }

  get bytes(): number {
    return this.#bytes
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    const late = Date.now() + flushMs
    while (this.#waiting.length > 0 && Date.now() < late) await this.#begin()
    if (this.#waiting.length > 0) this.#drop(this.#waiting.length)
  }

  #reserve(bytes: number): boolean {
    if (this.#bytes + bytes > (this.#settings.bytesMax ?? captureBytesMax)) return false
    this.#bytes += bytes
    return true
  }

  #take(payload: (CallPayload & { readonly bytes: number }) | undefined): void {
    if (payload === undefined) return this.#drop(1)
    const { bytes, ...rest } = payload
    this.#waiting.push({ payload: rest, bytes })
    if (this.#waiting.length >= batchCallsMax) this.#begin()
  }

  /** One write at a time. */
  #begin(): Promise<void> {
    if (this.#waiting.length === 0) return Promise.resolve()
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined
    })
    return this.#writing
  }

  async #write(): Promise<void> {
    const batch = this.#nextBatch()
    const payloads = batch.map(({ payload }) => payload)
    let failure: unknown
    for (let tries = 0; tries < triesMax; tries += 1) {
      failure = await this.#settings.write(payloads).then(
        () => undefined,
        (error: unknown) => error ?? new Error('failed'),
      )
      if (failure === undefined) break
    }
    this.#bytes -= batch.reduce((sum, { bytes }) => sum + bytes, 0)
    if (failure !== undefined) this.#drop(batch.length, failure)
  }

  #nextBatch(): Waiting[] {
    let [count, bytes] = [0, 0]
    for (const waiting of this.#waiting) {
      bytes += waiting.bytes
      if (count > 0 && (count === batchCallsMax || bytes > batchBytesMax)) break
      count += 1
    }
    return this.#waiting.splice(0, count)
  }

  /** Told once a minute: a busy node would say nothing else. */
  #drop(count: number, err?: unknown): void {
    this.#settings.dropped(count)
    this.#dropped += count
    const now = this.#settings.wallClock()
    if (now - this.#warnedAtMs < warnEveryMs) return
    this.#warnedAtMs = now
    const message =
      'the content of calls could not be captured: the database does not keep up, or is away. The calls themselves went on'
    this.#settings.warn({ calls: this.#dropped, err }, message)
    this.#dropped = 0
  }
}

export const writePayloads =
  (database: Database) =>
  (payloads: readonly CallPayload[]): Promise<void> =>
    insertPayloads(database, payloads)

type Said = Pick<
  CallPayload,
  'request' | 'requestBytes' | 'requestTruncated' | 'answer' | 'answerBytes' | 'answerTruncated'
>

type Keeper = {
  /** False where there is no room. */
  reserve(bytes: number): boolean
  /** Undefined: there was no room for all of it. */
  done(said: (Said & { readonly bytes: number }) | undefined): void
  release(bytes: number): void
}

/** Bytes up to a bound, of which nothing more is taken once there is no room. */
class Tape {
  readonly #bytesMax: number
  readonly #keeper: Keeper
  readonly #pieces: Buffer[] = []
  kept = 0
  bytes = 0
  isTorn = false

  constructor(bytesMax: number, keeper: Keeper) {
    this.#bytesMax = bytesMax
    this.#keeper = keeper
  }

  /** Copies, since a piece of a chunk would keep the whole chunk in memory. */
  add(piece: Buffer): void {
    this.bytes += piece.length
    const length = Math.min(piece.length, this.#bytesMax - this.kept)
    if (length <= 0 || this.isTorn) return
    if (!this.#keeper.reserve(length)) {
      this.isTorn = true
      return
    }
    this.#pieces.push(Buffer.from(piece.subarray(0, length)))
    this.kept += length
  }

  get isCut(): boolean {
    return this.kept < this.bytes
  }

  text(): string {
    return safeText(Buffer.concat(this.#pieces), this.isCut)
  }
}

/** An exchange that remembers what went through it. */
class CapturedExchange implements Exchange {
  readonly #inner: Exchange
  readonly #keeper: Keeper
  readonly #body: Buffer
  readonly #request: Tape
  readonly #answer: Tape
  #isDone = false

  constructor(inner: Exchange, body: Buffer, bytesMax: number, keeper: Keeper) {
    this.#inner = inner
    this.#keeper = keeper
    this.#body = body
    this.#request = new Tape(bytesMax, keeper)
    this.#answer = new Tape(bytesMax, keeper)
  }

  get requestId() {
    return this.#inner.requestId
  }
  get method() {
    return this.#inner.method
  }
  get path() {
    return this.#inner.path
  }
  get query() {
    return this.#inner.query
  }
  get headers() {
    return this.#inner.headers
  }
  get rawHeaders() {
    return this.#inner.rawHeaders
  }
  get clientAddress() {
    return this.#inner.clientAddress
  }
  get startedAtMs() {
    return this.#inner.startedAtMs
  }
  get closed() {
    return this.#inner.closed
  }

  clientCertificates() {
    return this.#inner.clientCertificates()
  }

  body(): Buffer | Promise<Buffer> {
    return this.#inner.body()
  }

  onClientLeft(listener: () => void): void {
    this.#inner.onClientLeft(listener)
  }

  onDrain(listener: () => void): void {
    this.#inner.onDrain(listener)
  }

  start(status: number, headers: Record<string, string>): void {
    this.#inner.start(status, headers)
  }

  write(chunk: Buffer): boolean {
    this.#heard(chunk)
    return this.#inner.write(chunk)
  }

  end(chunk?: Buffer | string): void {
    if (chunk !== undefined) this.#heard(Buffer.from(chunk))
    this.#inner.end(chunk)
  }

  destroy(): void {
    this.#inner.destroy()
  }

  /** The request is kept when its answer begins: whoever is refused has said nothing that is kept. */
  #heard(chunk: Buffer): void {
    if (this.#answer.bytes === 0) this.#request.add(this.#body)
    this.#answer.add(chunk)
  }

  /** Once, at the end of the call, however it ended. */
  finish(): void {
    if (this.#isDone) return
    this.#isDone = true
    const [request, answer] = [this.#request, this.#answer]
    const bytes = request.kept + answer.kept
    if (request.isTorn || answer.isTorn || answer.bytes === 0) {
      this.#keeper.release(bytes)
      if (answer.bytes > 0) this.#keeper.done(undefined)
      return
    }
    this.#keeper.done({
      bytes,
      request: request.text(),
      requestBytes: request.bytes,
      requestTruncated: request.isCut,
      answer: answer.text(),
      answerBytes: answer.bytes,
      answerTruncated: answer.isCut,
    })
  }
}

/** Also one that was cut, by whoever copied it or by our own bound. */
const ourKeys = /sk-kh-(proj|svcacct|admin|test)-[0-9A-Za-z]+/g

/** As PostgreSQL takes it, and with our keys masked. */
function safeText(bytes: Buffer, isCut: boolean): string {
  // A character that was cut in two at the bound is left out
  const text = new TextDecoder('utf-8').decode(bytes, { stream: isCut })
  return text.replaceAll('\0', '\ufffd').replace(ourKeys, 'sk-kh-$1-****')
}
