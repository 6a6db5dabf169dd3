import { createServer, type Server } from 'node:http'
import type { Behaviour } from './behaviour.ts'
import { listen } from './listen.ts'
import { createRecorder, type RecordedRequest } from './record.ts'
import type { FakeRequest } from './request.ts'
import { serve } from './serve.ts'

/**
 * The fake upstream: an OpenAI-compatible HTTP server for test keys, demos, tests and benches. It says openly that it is
 * fake (header `x-keyhouse-fake`, ids, fingerprint, every text), gives the same bytes for the same request, takes any
 * credential, and never calls anybody.
 */
export interface FakeUpstreamOptions {
  /** Listen on this Unix socket; else on a free port of 127.0.0.1. */
  readonly socketPath?: string
  /** What is odd about this request, over the row of its model in `fakeModels`. */
  readonly behaviour?: (request: FakeRequest) => Partial<Behaviour>
  /** How many requests `requests` keeps; 0 keeps none, so that no prompt stays in memory. Default 1,000. */
  readonly recordsMax?: number
  /** How much of each body `requests` keeps. Default 64 KiB. */
  readonly recordedBodyBytesMax?: number
  /** The clock of the records, milliseconds since 1970. */
  readonly now?: () => number
}

export interface FakeUpstream {
  /** The origin, without `/v1`: `http://127.0.0.1:<port>`, or `http://localhost` to be reached through `socketPath`. */
  readonly url: string
  readonly socketPath?: string
  /** The newest requests, oldest first; an entry is filled in while its request lasts. */
  readonly requests: readonly Readonly<RecordedRequest>[]
  /** All that arrived since the start, also those no longer kept. */
  requestCount(): number
  /** Cuts what is running and frees the port or socket. */
  stop(): Promise<void>
}

const recordsDefault = 1_000
const recordedBodyBytesDefault = 64 * 1024

/** Longer than a client's own, so that no request meets a connection that is just being closed. */
const keepAliveMs = 120_000

/** Listens when it resolves. Rejects when the address is taken or the socket path too long. */
export async function startFakeUpstream(options: FakeUpstreamOptions = {}): Promise<FakeUpstream> {
  const recorder = createRecorder(options.recordsMax ?? recordsDefault, options.now ?? Date.now)
  const settings = {
    behaviourOf: options.behaviour ?? (() => ({})),
    recordedBodyBytesMax: options.recordedBodyBytesMax ?? recordedBodyBytesDefault,
  }
  const server = createServer({ keepAliveTimeout: keepAliveMs }, (request, response) => {
    serve(recorder.open(request, response), settings).catch(error => response.destroy(error))
  })
  const url = await listen(server, options.socketPath)
  return {
    url,
    ...(options.socketPath !== undefined && { socketPath: options.socketPath }),
    requests: recorder.records,
    requestCount: recorder.count,
    async stop() {
      recorder.stop()
      await close(server)
    },
  }
}

function close(server: Server): Promise<void> {
  return new Promise(resolve => {
    // an error here says only that it was stopped before
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
