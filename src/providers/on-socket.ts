/** Upstreams that live beside us on a Unix socket: the embedded model, and the fake one for test keys. */
import type { Provider } from './contract.ts'
import { classifyOpenAi } from './openai-wire.ts'

export type SocketProvider = {
  readonly adapter: string
  readonly socketPath: string
  readonly prepare?: NonNullable<Provider['prepare']>
}

export const onSocket = ({ adapter, socketPath, prepare }: SocketProvider): Provider => ({
  adapter,
  ...(prepare && { prepare }),
  address: (_target, endpoint) => ({ origin: `http://${adapter}`, socketPath, path: `/v1${endpoint}`, headers: {} }),
  classify: classifyOpenAi,
})
