/** The database of a test cluster, killed and started again under its nodes. */
import { join } from 'node:path'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/storage/embedded-postgres.ts'
import { makeRunDirectory } from '../../src/storage/run-directory.ts'
import type { Cluster } from './cluster.ts'
import { databaseProcesses } from './processes.ts'

export class ClusterDatabase {
  readonly #cluster: Cluster
  #running: EmbeddedPostgres | undefined

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  /** SIGKILL of its main process: the others end by themselves when they see that. */
  kill(): void {
    const [main = 0] = databaseProcesses(this.#cluster.home)
    process.kill(main, 'SIGKILL')
  }

  /** After `kill`: on the same socket, with all that was committed. */
  async start(): Promise<void> {
    const { home } = this.#cluster
    this.#running = await startEmbeddedPostgres({
      directory: join(home, 'postgres'),
      socketDirectory: makeRunDirectory(home),
      log: () => undefined,
    })
  }

  /** Before the cluster is stopped: the nodes first, which have books to close. */
  async stop(): Promise<void> {
    await Promise.allSettled(this.#cluster.nodes.map(node => node.stop()))
    await this.#running?.stop()
  }
}
