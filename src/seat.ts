/** A worker's place among its siblings: what its primary does for it, because one must do it for all. See workers.ts. */
import type pg from 'pg'
import type { ModelProcess } from '#inference/model-process.ts'
import type { MetricsSnapshot } from '#observe/metrics.ts'
import type { SharedDirectory } from '#storage/data-directory.ts'

export type Seat = {
  /** From 1. The first also does what is for one to do: the CLI's access, fetching models, what ended nodes left. */
  readonly worker: number
  readonly shared: SharedDirectory
  readonly connection: pg.PoolConfig
  readonly modelProcess: ModelProcess
  /** In Prometheus's text form, of all workers together: a scrape reaches any of them. */
  metricsOfAll(): Promise<string>
  onMetricsAsked(read: () => Promise<MetricsSnapshot>): void
}
