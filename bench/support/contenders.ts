/** Who passes the same calls on to the same upstream: nginx, the bare proxy, Keyhouse. */
import { setTimeout as sleep } from 'node:timers/promises'
import { admin, newDataDir, type RunningKeyhouse, removeDataDir, startKeyhouse } from '../../test/support/keyhouse.ts'
import { endsWithUs, type Peer, startPeer } from './child.ts'
import { startNginxProxy } from './nginx.ts'
import { cpuMs, memoryOf, treeCpuMs, treeOf } from './process-tree.ts'
import type { Tools } from './tools.ts'

export type Contender = {
  readonly name: 'nginx' | 'bare proxy' | 'Keyhouse'
  readonly url: string
  readonly key: string
  /** CPU time of the program itself; of nginx, its worker and its master. */
  cpuMs(): number
  /** With everything that it started: of Keyhouse, PostgreSQL. */
  treeCpuMs(): number
  /** Resident bytes of the program itself. */
  residentBytes(): number
  /** Resolves when nothing that the calls caused is still to be done. */
  settled(): Promise<void>
}

const anyKey = 'sk-none'
const settledTimeoutMs = 30_000

/** What they share: nobody else's keys, prices and limits are in the way, and everything is written as always. */
const settings = {
  'requests-per-minute': '1000000000',
  'tokens-per-minute': '1000000000000',
  'first-credit-usd': '1000000',
  'upstream-connections-max': '8192',
}

/** @param parts takes what must be ended, in the order in which it was started */
export async function startContenders(
  parts: AsyncDisposableStack,
  tools: Tools,
  upstream: { readonly url: string; readonly models: readonly string[]; readonly buffering: boolean },
): Promise<Contender[]> {
  const nginx = tools.nginx === undefined ? undefined : parts.use(await startNginxProxy(upstream.url, upstream))
  const bare = parts.use(await startPeer(new URL('../peers/bare-proxy.ts', import.meta.url), upstream.url))
  const keyhouse = await startForLoad(parts, upstream)
  return [...(nginx ? [plain('nginx', nginx)] : []), plain('bare proxy', bare), keyhouse]
}

const plain = (name: Contender['name'], { url, pid }: Peer): Contender => ({
  name,
  url,
  key: anyKey,
  cpuMs: () => treeCpuMs(pid),
  treeCpuMs: () => treeCpuMs(pid),
  residentBytes: () => memoryOf(treeOf(pid)).rss,
  settled: () => sleep(50),
})

async function startForLoad(
  parts: AsyncDisposableStack,
  upstream: { readonly url: string; readonly models: readonly string[] },
): Promise<Contender> {
  const dataDir = parts.adopt(await newDataDir(), removeDataDir)
  const keyhouse = await startKeyhouse({ dataDir, settings })
  parts.defer(endsWithUs(keyhouse.pid))
  parts.defer(async () => {
    await keyhouse.stop()
  })
  const { admin: adminKey, project } = keyhouse.keys ?? { admin: '', project: '' }
  await admin(keyhouse, adminKey, 'POST', '/v1/platform/providers', {
    name: 'bench',
    base_url: `${upstream.url}/v1`,
    api_key: 'sk-upstream',
    models: upstream.models.map(name => ({
      name,
      kind: 'chat',
      input_usd_per_million: '3',
      output_usd_per_million: '15',
    })),
  })
  return {
    name: 'Keyhouse',
    url: keyhouse.url,
    key: project,
    cpuMs: () => cpuMs(keyhouse.pid),
    treeCpuMs: () => treeCpuMs(keyhouse.pid),
    residentBytes: () => memoryOf([keyhouse.pid]).rss,
    settled: () => journalDelivered(keyhouse),
  }
}

/** The last call's usage is in the database: only then has the last call cost all that it costs. */
async function journalDelivered({ url }: RunningKeyhouse): Promise<void> {
  const deadline = performance.now() + settledTimeoutMs
  for (;;) {
    await sleep(100)
    const metrics = await (await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(5_000) })).text()
    if (/^keyhouse_journal_waiting 0$/m.test(metrics) && /^keyhouse_calls_active 0$/m.test(metrics)) return
    if (performance.now() > deadline) throw new Error('Keyhouse is still busy with calls that ended long ago')
  }
}
