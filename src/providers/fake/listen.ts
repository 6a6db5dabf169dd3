import { stat, unlink } from 'node:fs/promises'
import type { Server } from 'node:http'
import { type AddressInfo, connect, type ListenOptions } from 'node:net'

/** The longest path that `sockaddr_un` takes on Linux, less its closing zero byte. */
const socketPathBytesMax = 107
const probeMsMax = 1_000

/**
 * Listens on the socket path, or on a free port of 127.0.0.1, and returns the origin for an HTTP client. A socket file that
 * a killed process left behind is replaced; one that somebody listens on is an error.
 */
export async function listen(server: Server, socketPath: string | undefined): Promise<string> {
  if (socketPath === undefined) {
    await bind(server, { host: '127.0.0.1', port: 0 })
    // a server that listens on a host and port has an AddressInfo; a string is only for paths
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  checkLength(socketPath)
  await removeStaleSocket(socketPath)
  // Exclusive: in a worker of node:cluster, its primary would else take every connection and pass it on
  await bind(server, { path: socketPath, exclusive: true })
  return 'http://localhost'
}

function bind(server: Server, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(options, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function checkLength(socketPath: string): void {
  if (Buffer.byteLength(socketPath) <= socketPathBytesMax) return
  throw new Error(`The socket path is longer than ${socketPathBytesMax} bytes, choose a shorter folder: ${socketPath}`)
}

async function removeStaleSocket(socketPath: string): Promise<void> {
  const found = await stat(socketPath).catch(() => null)
  if (!found?.isSocket()) return
  if (await isListenedOn(socketPath)) return
  await unlink(socketPath)
}

function isListenedOn(socketPath: string): Promise<boolean> {
  return new Promise(resolve => {
    const probe = connect(socketPath)
    const answer = (listened: boolean) => {
      probe.destroy()
      resolve(listened)
    }
    probe.setTimeout(probeMsMax, () => answer(true))
    probe.once('connect', () => answer(true))
    probe.once('error', () => answer(false))
  })
}
