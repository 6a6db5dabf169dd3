/** An upstream that says exactly the bytes it was given: recorded answers, and answers that no honest provider would send. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export type Script = {
  readonly status?: number
  readonly contentType?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Written one by one. */
  readonly pieces: readonly (string | Buffer)[]
  readonly gapMs?: number
  /** After the last piece. Left out: the answer ends. */
  readonly then?: 'hang' | 'reset'
}

export type ScriptedUpstream = {
  readonly url: string
  /** What the next requests are answered with, by their `user`. */
  readonly scripts: Map<string, Script>
  /** Bodies that arrived. */
  readonly bodies: readonly Record<string, unknown>[]
  stop(): Promise<void>
}

const noScript: Script = { status: 500, pieces: ['{"error":{"message":"no script for this user"}}'] }

export async function startScriptedUpstream(): Promise<ScriptedUpstream> {
  const scripts = new Map<string, Script>()
  const bodies: Record<string, unknown>[] = []
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    const body = JSON.parse(text)
    bodies.push(body)
    const {
      status = 200,
      contentType = 'application/json',
      headers = {},
      pieces,
      gapMs = 0,
      then,
    } = scripts.get(body.user) ?? noScript
    response.writeHead(status, { 'content-type': contentType, ...headers })
    for (const piece of pieces) {
      response.write(piece)
      if (gapMs > 0) await sleep(gapMs)
    }
    if (then === 'reset') response.socket?.destroySoon()
    else if (then === undefined) response.end()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  // A TCP server's address is never text.
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    scripts,
    bodies,
    stop: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
