/**
 * Several whole Keyhouse nodes on one real PostgreSQL, as an operator runs them: every node is a process with a data
 * directory of its own, all of them have the same secrets, and all are started at once. A node may reach the database
 * through a proxy of its own, so that a test can take the database away from that node alone.
 *
 * `home` is laid out like the data directory of a server with an embedded database: `Books.open(cluster.home)` reads beside
 * the nodes, and `databaseProcesses(cluster.home)` names what there is to kill.
 */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/storage/embedded-postgres.ts'
import { makeRunDirectory } from '../../src/storage/run-directory.ts'
import { FaultProxy } from './fault-proxy.ts'
import { admin, type Keys, newDataDir, type RunningKeyhouse, removeDataDir, startKeyhouse } from './keyhouse.ts'

export type ClusterOptions = {
  readonly nodes: number
  /** Of every node, by setting name. */
  readonly settings?: Readonly<Record<string, string>>
  /** Of every node; REDIS_URL for instance. */
  readonly env?: Readonly<Record<string, string>>
  /** What one node has besides. */
  readonly envOf?: (index: number) => Readonly<Record<string, string>>
  /** Which nodes reach the database through a proxy. */
  readonly proxied?: readonly number[]
}

export type Cluster = {
  /** The newest process of each node. */
  readonly nodes: readonly RunningKeyhouse[]
  /** Shown by one node, whichever was first. */
  readonly keys: Keys
  readonly home: string
  node(index: number): RunningKeyhouse
  /** What stands between this node and the database. */
  proxy(index: number): FaultProxy
  /** A request to the Administration API of one node (0 unless said) that must succeed. */
  admin<Answer = unknown>(method: string, path: string, body?: unknown, index?: number): Promise<Answer>
  /** Starts the node again on its data directory, once its process has ended. */
  start(index: number): Promise<RunningKeyhouse>
  stop(): Promise<void>
}

/** The embedded PostgreSQL takes 40 in all; each node has a few of its own besides: for LISTEN, migrations and jobs. */
const connectionsOfAllNodes = 20
const poolMax = 8

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const home = await newDataDir()
  const socketDirectory = makeRunDirectory(home)
  const directory = join(home, 'postgres')
  const postgres = await startEmbeddedPostgres({ directory, socketDirectory, log: () => undefined })
  const ground = { home, postgres, proxies: new Map<number, FaultProxy>(), dataDirs: [] as string[] }
  const nodes: RunningKeyhouse[] = []
  try {
    for (const index of options.proxied ?? []) ground.proxies.set(index, await openProxy(postgres))
    for (let index = 0; index < options.nodes; index += 1) ground.dataDirs.push(await newDataDir())
    await startAll(ground, options, nodes)
    return clusterOf(ground, nodes, index => startNode(ground, options, index))
  } catch (error) {
    await stopAll(ground, nodes)
    throw error
  }
}

type Ground = {
  readonly home: string
  readonly postgres: EmbeddedPostgres
  readonly proxies: ReadonlyMap<number, FaultProxy>
  readonly dataDirs: readonly string[]
}

const openProxy = ({ connection }: EmbeddedPostgres): Promise<FaultProxy> =>
  FaultProxy.open({ target: { socketPath: join(connection.host, `.s.PGSQL.${connection.port}`) } })

const sharedSecrets = {
  KEYHOUSE_KEY_PEPPER: randomBytes(32).toString('hex'),
  KEYHOUSE_SEALING_KEY: randomBytes(32).toString('hex'),
}

/** All at once; those that came up are in `nodes` even when another one did not. */
async function startAll(ground: Ground, options: ClusterOptions, nodes: RunningKeyhouse[]): Promise<void> {
  const starts = ground.dataDirs.map((_dataDir, index) => startNode(ground, options, index))
  const ends = await Promise.allSettled(starts)
  for (const end of ends) if (end.status === 'fulfilled') nodes.push(end.value)
  for (const end of ends) if (end.status === 'rejected') throw end.reason
}

function startNode(ground: Ground, options: ClusterOptions, index: number): Promise<RunningKeyhouse> {
  const connectionsMax = Math.min(poolMax, Math.floor(connectionsOfAllNodes / options.nodes))
  return startKeyhouse({
    dataDir: ground.dataDirs[index] ?? '',
    settings: { 'database-connections-max': String(connectionsMax), ...options.settings },
    env: { ...sharedSecrets, DATABASE_URL: databaseUrl(ground, index), ...options.env, ...options.envOf?.(index) },
  })
}

function databaseUrl({ postgres, proxies }: Ground, index: number): string {
  const { user, database, host, port } = postgres.connection
  const proxy = proxies.get(index)
  if (proxy) return `postgres://${user}@127.0.0.1:${proxy.port}/${database}?sslmode=disable`
  return `postgres://${user}@${encodeURIComponent(host)}:${port}/${database}?sslmode=disable`
}

function clusterOf(ground: Ground, nodes: RunningKeyhouse[], start: Cluster['start']): Cluster {
  const node = (index: number): RunningKeyhouse => present(nodes[index], `node ${index}`)
  const keys = present(nodes.find(each => each.keys)?.keys, 'keys: the first start showed none')
  return {
    nodes,
    keys,
    home: ground.home,
    node,
    proxy: index => present(ground.proxies.get(index), `proxy for node ${index}`),
    admin: (method, path, body, index = 0) => admin(node(index), keys.admin, method, path, body),
    async start(index) {
      const started = await start(index)
      nodes[index] = started
      return started
    },
    stop: () => stopAll(ground, nodes),
  }
}

function present<Value>(value: Value | undefined, what: string): Value {
  if (value === undefined) throw new Error(`the cluster has no ${what}`)
  return value
}

/** Faults end first: a node that is stopping has books to close. */
async function stopAll(
  { home, postgres, proxies, dataDirs }: Ground,
  nodes: readonly RunningKeyhouse[],
): Promise<void> {
  for (const proxy of proxies.values()) await proxy.restore()
  await Promise.allSettled(nodes.map(node => node.stop()))
  for (const proxy of proxies.values()) await proxy.close()
  await postgres.stop()
  for (const directory of [home, ...dataDirs]) await removeDataDir(directory)
}
