/** Keep-alive connections to the upstreams: one pool for TCP, one for each Unix socket. */
import { Agent, type Dispatcher, Pool } from 'undici'
import type { UpstreamAddress } from '#providers/contract.ts'

export type ConnectionSettings = {
  readonly connectTimeoutMs: number
  /** Until the first byte of an answer; a model may think for minutes. */
  readonly answerTimeoutMs: number
  /** Between two pieces of an answer. */
  readonly silenceTimeoutMs: number
  readonly connectionsPerUpstreamMax: number
}

export class Connections {
  readonly #settings: ConnectionSettings
  readonly #agent: Agent
  readonly #sockets = new Map<string, Pool>()

  constructor(settings: ConnectionSettings) {
    this.#settings = settings
    this.#agent = new Agent(this.#options())
  }

  to(address: UpstreamAddress): Dispatcher {
    if (address.socketPath === undefined) return this.#agent
    const known = this.#sockets.get(address.socketPath)
    if (known) return known
    const { connect, ...options } = this.#options()
    const pool = new Pool(address.origin, { ...options, connect: { ...connect, socketPath: address.socketPath } })
    this.#sockets.set(address.socketPath, pool)
    return pool
  }

  async close(): Promise<void> {
    await Promise.all([this.#agent.destroy(), ...[...this.#sockets.values()].map(pool => pool.destroy())])
  }

  #options() {
    return {
      connections: this.#settings.connectionsPerUpstreamMax,
      pipelining: 1,
      headersTimeout: this.#settings.answerTimeoutMs,
      bodyTimeout: this.#settings.silenceTimeoutMs,
      connect: { timeout: this.#settings.connectTimeoutMs },
    }
  }
}
