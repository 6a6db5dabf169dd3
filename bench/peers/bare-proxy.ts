/**
 * The least that a proxy of ours can be: node:http and undici's dispatch, bytes in, bytes out. No key is looked at, nothing
 * is parsed, counted or kept. What Keyhouse costs beyond it is what the seven verbs cost.
 */
import { createServer, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Agent, type Dispatcher } from 'undici'

const [origin = ''] = process.argv.slice(2)
const agent = new Agent({ pipelining: 1 })

/** The headers of an answer that are about its body. */
function pick({ 'content-type': type = '', 'content-length': length }: IncomingHttpHeaders): OutgoingHttpHeaders {
  return length === undefined ? { 'content-type': type } : { 'content-type': type, 'content-length': length }
}

function relayTo(response: ServerResponse): Dispatcher.DispatchHandler {
  return {
    onRequestStart(controller) {
      response.once('close', () => {
        if (!response.writableFinished) controller.abort(new Error('the client left'))
      })
    },
    onResponseStart(_controller, status, headers) {
      response.writeHead(status, pick(headers))
    },
    onResponseData(controller, chunk) {
      if (response.write(chunk)) return
      controller.pause()
      response.once('drain', () => controller.resume())
    },
    onResponseEnd: () => void response.end(),
    onResponseError: () => void response.destroy(),
  }
}

const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', chunk => chunks.push(chunk))
  request.on('end', () => {
    const { authorization = '', 'content-type': type = '' } = request.headers
    const headers = { authorization, 'content-type': type }
    agent.dispatch(
      { origin, path: request.url ?? '/', method: 'POST', headers, body: Buffer.concat(chunks) },
      relayTo(response),
    )
  })
})

server.listen(0, '127.0.0.1', () => {
  // A TCP server's address is never text; that is for Unix sockets
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
