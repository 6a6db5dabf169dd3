/** Bytes to a server and back, with nothing in between that would mend them: what a hostile or clumsy client sends. */
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export type Conversation = {
  readonly text: string
  /** Status lines, in order; interim answers are left out. */
  readonly statuses: readonly number[]
  /** The body of the last answer, by its content-length. */
  readonly body: string
  /** The server ended the connection. */
  readonly closed: boolean
  readonly tookMs: number
}

export type ConversationOptions = {
  /** End our sending side after the last part, and go on reading. */
  readonly halfClose?: boolean
  readonly gapMs?: number
  /** How long to wait for the server to end the connection. */
  readonly waitMs?: number
}

const lookEveryMs = 5

export async function converse(
  url: string,
  parts: readonly (string | Buffer)[],
  { halfClose = false, gapMs = 0, waitMs = 3_000 }: ConversationOptions = {},
): Promise<Conversation> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  const chunks: Buffer[] = []
  let closed = false
  const close = (): void => {
    closed = true
  }
  // A server that refuses early may reset what it has not read; what it said before is what counts
  socket.on('error', close).on('end', close)
  socket.on('data', chunk => chunks.push(chunk))
  await new Promise(resolve => socket.once('connect', resolve))
  const startedAtMs = performance.now()
  for (const part of parts) {
    if (closed) break
    socket.write(part)
    if (gapMs > 0) await sleep(gapMs)
  }
  if (halfClose) socket.end()
  while (!closed && performance.now() - startedAtMs < waitMs) await sleep(lookEveryMs)
  socket.destroy()
  return { ...read(Buffer.concat(chunks).toString('latin1')), closed, tookMs: performance.now() - startedAtMs }
}

function read(text: string): Pick<Conversation, 'text' | 'statuses' | 'body'> {
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(match => Number(match[1])).filter(isFinal)
  const lastHead = text.lastIndexOf('HTTP/1.1 ')
  const bodyAt = text.indexOf('\r\n\r\n', lastHead)
  return { text, statuses, body: bodyAt < 0 ? '' : text.slice(bodyAt + 4) }
}

const isFinal = (status: number): boolean => status >= 200

/** A POST as text: what is in `lines` comes after the headers that every request here has. */
export const rawPost = (path: string, lines: readonly string[], body = ''): string =>
  [`POST ${path} HTTP/1.1`, 'Host: keyhouse.test', 'Content-Type: application/json', ...lines, '', body].join('\r\n')
