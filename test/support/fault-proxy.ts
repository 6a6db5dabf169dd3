/**
 * A TCP proxy that misbehaves when told to, between a node and its database, its Redis or a provider: the ways in which
 * networks really fail, on request. It forges nothing and loses no byte of a connection that it keeps: what was held back
 * while it hung is passed on after `restore()`.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { finished, Transform } from 'node:stream'

export type FaultTarget = { readonly host: string; readonly port: number } | { readonly socketPath: string }

type Link = { readonly client: Socket; upstream?: Socket }

const loopback = '127.0.0.1'

export class FaultProxy {
  readonly port: number
  readonly #target: FaultTarget
  readonly #server: Server
  readonly #links = new Set<Link>()
  #delayMs = 0
  /** Pending while bytes are held back. */
  #gate: Promise<void> = Promise.resolve()
  #openGate: () => void = () => undefined

  static async open({ target }: { target: FaultTarget }): Promise<FaultProxy> {
    // Half-open allowed: the end of one direction is passed on as just that.
    const server = createServer({ allowHalfOpen: true, noDelay: true })
    server.listen(0, loopback)
    await once(server, 'listening')
    return new FaultProxy(server, target)
  }

  private constructor(server: Server, target: FaultTarget) {
    this.#server = server
    this.#target = target
    // A server that listens on a TCP port has such an address.
    this.port = (server.address() as AddressInfo).port
    server.on('connection', client => void this.#link(client))
  }

  /** How many connections are kept now. */
  get connections(): number {
    return this.#links.size
  }

  /** As when the other side died: every connection is reset, new ones are refused. */
  async cut(): Promise<void> {
    const closed = this.#server.listening ? once(this.#server, 'close') : undefined
    this.#server.close()
    for (const { client, upstream } of this.#links) {
      client.resetAndDestroy()
      upstream?.destroy()
    }
    this.#links.clear()
    await closed
  }

  /** As when a cable is pulled: connections are accepted and kept, and no byte or end passes either way. */
  hang(): void {
    this.#openGate()
    this.#gate = new Promise(resolve => {
      this.#openGate = resolve
    })
  }

  /** Each chunk waits so long before it is passed on, one after the other. */
  slow(ms: number): void {
    this.#delayMs = ms
  }

  /** Ends whatever fault there is; what was held back goes on. The port stays the same. */
  async restore(): Promise<void> {
    this.#delayMs = 0
    this.#openGate()
    if (this.#server.listening) return
    this.#server.listen(this.port, loopback)
    await once(this.#server, 'listening')
  }

  async close(): Promise<void> {
    await this.cut()
    this.#openGate()
  }

  async #link(client: Socket): Promise<void> {
    const link: Link = { client }
    this.#links.add(link)
    this.#passEnd(link, client)
    await this.#gate
    if (client.destroyed) return
    const upstream = this.#connect()
    link.upstream = upstream
    this.#passEnd(link, upstream)
    client.pipe(this.#passage()).pipe(upstream)
    upstream.pipe(this.#passage()).pipe(client)
  }

  #connect(): Socket {
    const options = { allowHalfOpen: true, noDelay: true }
    return 'socketPath' in this.#target
      ? connect({ path: this.#target.socketPath, ...options })
      : connect({ ...this.#target, ...options })
  }

  /** What one side's death is to the other: seen as soon as anything passes again. */
  #passEnd(link: Link, side: Socket): void {
    finished(side, async error => {
      await this.#gate
      this.#links.delete(link)
      for (const each of [link.client, link.upstream]) error ? each?.destroy() : each?.destroySoon()
    })
  }

  #passage(): Transform {
    const turn = async (): Promise<void> => {
      if (this.#delayMs > 0) await new Promise(resolve => setTimeout(resolve, this.#delayMs))
      await this.#gate
    }
    return new Transform({
      transform: (chunk, _encoding, done) => void turn().then(() => done(null, chunk)),
      flush: done => void turn().then(() => done()),
    })
  }
}
