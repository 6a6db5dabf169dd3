/**
 * A load balancer as plain as they come: it asks each node every so often whether it is ready, deals requests out in turn among
 * those that said so last, keeps connections to them open, and never tries a request a second time.
 */
import { once } from 'node:events'
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export type Balancer = {
  readonly url: string
  /** What went wrong between it and a node, by error code. */
  readonly failures: readonly string[]
  /** The nodes that requests go to now. */
  ready(): readonly string[]
  stop(): Promise<void>
}

export const lookEveryMs = 50
const lookTimeoutMs = 1_000

/** @param targets the origins of the nodes, asked for each time: a node that comes back may be on another port */
export async function startBalancer(targets: () => readonly string[]): Promise<Balancer> {
  const agent = new Agent({ keepAlive: true })
  const failures: string[] = []
  let ready: readonly string[] = []
  let turn = 0
  const look = async (): Promise<void> => {
    const urls = targets()
    const answers = await Promise.all(urls.map(isReady))
    ready = urls.filter((_url, index) => answers[index])
  }
  const timer = setInterval(() => void look(), lookEveryMs)
  const server = createServer((incoming, response) => {
    turn += 1
    const target = ready[turn % Math.max(1, ready.length)]
    const fail = (why: string): void => {
      failures.push(why)
      if (response.headersSent) response.destroy()
      else response.writeHead(502).end()
    }
    if (target === undefined) fail('no node is ready')
    else pass(incoming, response, target, agent, fail)
  })
  await look()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    // A server that listens on a TCP port has such an address.
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    failures,
    ready: () => ready,
    async stop() {
      clearInterval(timer)
      agent.destroy()
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function isReady(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(lookTimeoutMs) })
    await response.arrayBuffer()
    return response.ok
  } catch {
    return false
  }
}

function pass(
  incoming: IncomingMessage,
  response: ServerResponse,
  target: string,
  agent: Agent,
  fail: (why: string) => void,
): void {
  const { method, url, headers } = incoming
  const outgoing = request(target + url, { method, headers, agent }, answer => {
    const { connection: _hop, ...rest } = answer.headers
    response.writeHead(answer.statusCode ?? 502, rest)
    answer.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message))
    answer.pipe(response)
  })
  outgoing.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message))
  incoming.pipe(outgoing)
}
