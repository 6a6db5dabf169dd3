/** What the seven verbs work with. Built once, in compose.ts. */
import type { Catalogue } from '#core/catalogue.ts'
import type { ScopeLimits } from '#core/limit-dimensions.ts'
import type { GatewayMetrics } from '#observe/metrics.ts'
import type { Provider } from '#providers/contract.ts'
import type { Journal } from '#storage/journal.ts'
import type { OpenCounters } from '#storage/open-counters.ts'
import type { Secrets } from '#storage/secrets.ts'
import type { ActiveCalls } from './active-calls.ts'
import type { Circuits } from './circuits.ts'
import type { ClusterLink } from './cluster.ts'
import type { Connections } from './connections.ts'
import type { Grants } from './grants.ts'
import type { Paces } from './paces.ts'
import type { PayloadCapture } from './payload-capture.ts'
import type { Wallets } from './wallets.ts'

export type GatewaySettings = {
  readonly limitsDefault: ScopeLimits
  readonly unknownKeysPerMinuteMax: number
  /** Sent upstream as the output bound where neither the client nor the model's row has one. */
  readonly outputTokensDefault: number
  /** The shortest answer worth having where the credit does not cover the whole of it; 0: none. */
  readonly clampedOutputTokensMin: number
  readonly unpricedModels: 'refuse' | 'free'
  readonly testModelsForAll: boolean
  readonly callsMax: number
  readonly upstreamBodyBytesMax: number
  /** How long a client may take no bytes of a stream before it is cut. */
  readonly clientStallMs: number
  /** How long a whole answer is still waited for when its client has left, for the provider's own numbers. */
  readonly clientLeftMs: number
}

export type Gateway = {
  readonly settings: GatewaySettings
  readonly secrets: Secrets
  readonly grants: Grants
  readonly counters: OpenCounters
  readonly cluster: ClusterLink
  readonly wallets: Wallets
  readonly journal: Journal
  readonly circuits: Circuits
  readonly paces: Paces
  readonly connections: Connections
  readonly active: ActiveCalls
  readonly payloads: PayloadCapture
  readonly providers: ReadonlyMap<string, Provider>
  readonly metrics: GatewayMetrics
  catalogue(): Catalogue
  /** When all that had changed by now is in the catalogue, or cannot be read. */
  catchUp(): Promise<void>
  /** The same at once, for whoever has just changed something; and see Grants. */
  learnChanges(): Promise<void>
  /** Milliseconds of a monotonic clock. */
  now(): number
  /** Milliseconds since 1970, for what people and other machines read. */
  wallClock(): number
  warn(details: object, message: string): void
}
