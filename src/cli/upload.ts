/**
 * Sends a large body. Over node:http and not fetch, whose deadline for the answer runs while the body is still on its way:
 * a large restore would never end well.
 */
import { type IncomingMessage, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { type Client, silenceMsMax } from './client.ts'
import { CliError } from './exit.ts'
import { refused, unreachable } from './failures.ts'

export type Upload = { readonly pieces: AsyncIterable<Uint8Array>; readonly size: number }

export async function upload<Answer>(client: Client, path: string, { pieces, size }: Upload): Promise<Answer> {
  const { server, key } = client
  const url = new URL(server.url + path)
  const headers = {
    authorization: `Bearer ${key}`,
    'content-type': 'application/gzip',
    'content-length': size,
  }
  const request = (url.protocol === 'https:' ? requestHttps : requestHttp)(url, { method: 'POST', headers })
  // Of the socket: no byte in either direction for that long
  request.setTimeout(silenceMsMax, () => request.destroy(new DOMException('nothing came for too long', 'TimeoutError')))
  const answered = new Promise<IncomingMessage>((resolve, reject) =>
    request.once('response', resolve).once('error', reject),
  )
  try {
    // A server that refuses early answers and stops reading: its answer counts, not that the sending failed
    const sent = pipeline(pieces, request).then(() => answered)
    return await readAnswer(client, await Promise.race([answered, sent]))
  } catch (error) {
    throw error instanceof CliError ? error : unreachable(server, error)
  } finally {
    request.destroy()
  }
}

async function readAnswer<Answer>({ server }: Client, response: IncomingMessage): Promise<Answer> {
  const body = await text(response)
  const status = response.statusCode ?? 0
  const requestId = String(response.headers['x-request-id'] ?? '') || undefined
  if (status !== 200) throw refused(server, { status, text: body, requestId })
  // The server's contract gives the shape; see wire.ts.
  return JSON.parse(body) as Answer
}
