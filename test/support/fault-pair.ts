/** Two nodes on one database, which the first one reaches through a proxy, and what the tests of its faults share. */
import type { Behaviour } from '../../src/providers/fake/behaviour.ts'
import { type Cluster, startCluster } from './cluster.ts'
import type { FaultProxy } from './fault-proxy.ts'
import { type KeyLimits, modelIsThere, type NewKey, newLimitedKey, prepareMoney } from './limited-keys.ts'

export type Fault = {
  readonly fault: string
  /** Long enough to see what becomes of calls that wait. */
  readonly awayMs: number
  begin(proxy: FaultProxy): Promise<void> | void
}

const slowMs = 2_000

export const faults: readonly Fault[] = [
  { fault: 'cut', awayMs: 3_000, begin: proxy => proxy.cut() },
  { fault: 'hung', awayMs: 5_000, begin: proxy => proxy.hang() },
  { fault: `slow by ${slowMs} ms`, awayMs: 6_000, begin: proxy => proxy.slow(slowMs) },
]

/** The provider's, by the request's own `user`: four seconds of tokens, one token, or five. */
export function behaviourOf({ body }: { readonly body: Readonly<Record<string, unknown>> }): Partial<Behaviour> {
  if (body.user === 'long') return { outputTokens: 100, chunkIntervalMs: 40 }
  return { outputTokens: body.user === 'brief' ? 1 : 5 }
}

export async function startPair(upstreamUrl: string, settings: Readonly<Record<string, string>>): Promise<Cluster> {
  const cluster = await startCluster({
    nodes: 2,
    proxied: [0],
    settings: { 'first-credit-usd': '100', 'lease-idle-ms': '1000', ...settings },
  })
  const { admin: adminKey, project: projectKey } = cluster.keys
  await prepareMoney({ url: cluster.node(1).url, adminKey, projectKey }, upstreamUrl)
  for (const { url } of cluster.nodes) await modelIsThere(url, projectKey)
  return cluster
}

/** Made through the node that reaches its database. */
export const newKey = (cluster: Cluster, limits?: KeyLimits): Promise<NewKey> => newLimitedKey(cluster, limits, 1)
