/**
 * A provider of streams that never end: one chunk each `intervalMs`, the streams evenly spread over that time, until the
 * client leaves. A call of the model `idle` gets its first chunk, and then silence. GET /stats tells how many streams are
 * open and how many chunks were sent.
 */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

const intervalMs = Number(process.argv[2])
/** Streams by the millisecond of the interval at which their chunk is due. */
const due = Array.from({ length: intervalMs }, () => new Set<ServerResponse>())
let [streams, chunks, opened] = [0, 0, 0]

// As OpenAI's look when `stream_options.include_usage` was asked for
const chunk = Buffer.from(
  `data: ${JSON.stringify({
    id: 'chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG',
    object: 'chat.completion.chunk',
    created: 1_790_000_000,
    model: 'm',
    service_tier: 'default',
    system_fingerprint: 'fp_44709d6fcb',
    choices: [{ index: 0, delta: { content: ' another' }, logprobs: null, finish_reason: null }],
    usage: null,
  })}\n\n`,
)

function send(response: ServerResponse): void {
  response.write(chunk)
  chunks += 1
}

/** Timers come late: what fell due since the last tick is sent now, but never more than one chunk a stream. */
let doneUntil = Math.floor(performance.now())
setInterval(() => {
  const now = Math.floor(performance.now())
  for (let ms = Math.max(doneUntil, now - intervalMs); ms < now; ms += 1) due[ms % intervalMs]?.forEach(send)
  doneUntil = now
}, 1)

function open(response: ServerResponse, idle: boolean): void {
  const turn = due[opened % intervalMs]
  streams += 1
  opened += 1
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  send(response)
  if (!idle) turn?.add(response)
  response.on('close', () => {
    streams -= 1
    turn?.delete(response)
  })
}

const server = createServer(async (request, response) => {
  if (request.url === '/stats') response.end(JSON.stringify({ streams, chunks }))
  else open(response, /"model":\s*"idle"/.test(await text(request)))
})

server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
  // A TCP server's address is never text; that is for Unix sockets
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
