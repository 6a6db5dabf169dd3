/** A provider that answers every call at once with the bytes it was started with, where there is no nginx to do it. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

const [json = ''] = process.argv.slice(2)
const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(json) }

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  request.resume().on('end', () => response.writeHead(200, headers).end(json))
})

server.listen(0, '127.0.0.1', () => {
  // A TCP server's address is never text; that is for Unix sockets
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
