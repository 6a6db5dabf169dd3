import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'

/** What a test reads afterwards: one entry for each request that arrived. */
export interface RecordedRequest {
  /** 1 for the first request since the start. */
  readonly number: number
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  /** What arrived of the body, up to `recordedBodyBytesMax`. */
  body: string
  /** How long the body was before it was shortened here. */
  bodyBytes: number
  readonly arrivedAtMs: number
  /** Writes of the answer's body so far. */
  chunksWritten: number
  /** In the end exactly one of these three is set. The last byte of the answer had been handed over: */
  answeredAtMs: number | null
  /** The client went away before it had the whole answer: */
  clientLeftAtMs: number | null
  /** We broke the connection, for a fault or because the upstream was stopped: */
  hungUpAtMs: number | null
}

/** One request while it lasts. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly record: RecordedRequest
  /** Set before we destroy the connection, so that this is not taken for the client's leaving. */
  hungUp: boolean
}

export interface Recorder {
  /** The newest `recordsMax`, oldest first. */
  readonly records: readonly RecordedRequest[]
  /** All that arrived, also those no longer kept. */
  count(): number
  /** Connections that close from now on were closed by us. */
  stop(): void
  open(request: IncomingMessage, response: ServerResponse): Exchange
}

export function createRecorder(recordsMax: number, now: () => number): Recorder {
  const records: RecordedRequest[] = []
  let count = 0
  let isStopped = false
  return {
    records,
    count: () => count,
    stop() {
      isStopped = true
    },
    open(request, response) {
      count += 1
      const exchange = { request, response, record: begin(request, count, now()), hungUp: false }
      response.once('close', () => conclude(exchange, isStopped, now()))
      if (recordsMax > 0) records.push(exchange.record)
      if (records.length > recordsMax) records.shift()
      return exchange
    },
  }
}

function begin(request: IncomingMessage, number: number, arrivedAtMs: number): RecordedRequest {
  return {
    number,
    method: request.method ?? '',
    path: request.url ?? '',
    headers: request.headers,
    body: '',
    bodyBytes: 0,
    arrivedAtMs,
    chunksWritten: 0,
    answeredAtMs: null,
    clientLeftAtMs: null,
    hungUpAtMs: null,
  }
}

function conclude({ response, record, hungUp }: Exchange, isStopped: boolean, nowMs: number): void {
  if (response.writableFinished) record.answeredAtMs = nowMs
  else if (hungUp || isStopped) record.hungUpAtMs = nowMs
  else record.clientLeftAtMs = nowMs
}
