/**
 * KEYHOUSE_WORKERS: several processes on one machine that share a port. The primary holds the data directory, keeps the
 * embedded database and the model's process, and keeps the workers: each is a whole node, with a journal and a name of its
 * own. It serves no request itself.
 *
 * The port is shared by node:cluster, whose primary accepts and deals connections out in turn, and not by SO_REUSEPORT: there
 * each process has a queue of its own in the kernel, and what waits in the queue of one that stops is reset, which a rolling
 * restart must not do; nor does macOS spread the load. What it costs, once a connection, is small beside a call.
 */
import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { createModelProcess, type ModelProcess } from '#inference/model-process.ts'
import type { Log } from '#observe/log.ts'
import { joinMetrics, type MetricsSnapshot } from '#observe/metrics.ts'
import { Channel } from '#src/channel.ts'
import { closers } from '#src/closers.ts'
import { openOwnDirectory } from '#src/compose/storage.ts'
import type { Keyhouse } from '#src/compose.ts'
import type { Config } from '#src/config.ts'
import { keepDatabase } from '#src/keep-database.ts'
import { wallClock } from './compose/base.ts'
import { Troubles } from './troubles.ts'
import type { Start, Started } from './worker.ts'

const modelStopMs = 3_000
const startMs = 120_000
const metricsMs = 5_000
/** Beyond its notice and its drain, what a worker has for its last settlements. */
const settleMs = 30_000
const pauseFirstMs = 250
const pauseMaxMs = 10_000
/** A worker that lived this long has recovered, whatever happened before. */
const recoveredMs = 60_000
/** The embedded database has 40 connections, and each node keeps up to four beside its pool. */
const embeddedPoolsMax = 20

/** What `serve` runs in the place of `compose` when there are several workers. */
export async function composeWorkers(config: Config, log: Log): Promise<Keyhouse> {
  const closing = closers((details, message) => log.error(details, message))
  try {
    const { values } = config
    const directory = await openOwnDirectory(config)
    closing.add('data directory', () => directory.release())
    const connection = await keepDatabase(values['database-url'], directory, {
      log,
      closing,
      down: new Troubles(log, wallClock).of('embedded_database_down'),
    })
    const model = createModelProcess({
      models: directory.paths.models,
      socketPath: directory.paths.modelSocket,
      threads: values['local-model-threads'],
      queueMax: values['local-model-queue-max'],
      log,
    })
    closing.add('embedded model', () => model.stop(modelStopMs))
    const { path, paths } = directory
    const start = { config: await workerConfig(config), shared: { path, paths }, connection }
    const workers = new Workers(start, model, log)
    closing.add('workers', () => workers.stop())
    const started = await workers.start(values.workers)
    return { ...started, stop: () => closing.closeAll() }
  } catch (error) {
    await closing.closeAll()
    throw error
  }
}

/** The port is picked once, so that a worker which comes back is on the same one. */
async function workerConfig(config: Config): Promise<Config> {
  const { values } = config
  const port = values.port === 0 ? await freePort(values.host) : values.port
  const share = Math.max(2, Math.floor(embeddedPoolsMax / values.workers))
  const connections = values['database-connections-max']
  const pool = values['database-url'] === '' ? Math.min(share, connections) : connections
  return { ...config, values: { ...values, port, 'database-connections-max': pool } }
}

async function freePort(host: string): Promise<number> {
  const probe = createServer().listen(0, host)
  await once(probe, 'listening')
  const address = probe.address()
  probe.close()
  await once(probe, 'close')
  return typeof address === 'object' ? (address?.port ?? 0) : 0
}

class Workers {
  readonly #start: Omit<Start, 'worker'>
  readonly #model: ModelProcess
  readonly #log: Log
  readonly #running = new Map<number, { readonly worker: Worker; readonly channel: Channel }>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #stopping = false

  constructor(start: Omit<Start, 'worker'>, model: ModelProcess, log: Log) {
    this.#start = start
    this.#model = model
    this.#log = log
    cluster.schedulingPolicy = cluster.SCHED_RR
  }

  /** The first alone: it brings the schema up to date and makes what the very first start makes. */
  async start(count: number): Promise<Started> {
    const first = await this.#launch(1, 0)
    const others = Array.from({ length: count - 1 }, (_, index) => this.#launch(index + 2, 0))
    await Promise.all(others)
    return first
  }

  /** All at once: each stops taking calls, ends those that it has, and settles. */
  async stop(): Promise<void> {
    this.#stopping = true
    for (const timer of this.#timers) clearTimeout(timer)
    const { 'drain-notice-ms': noticeMs, 'drain-ms': drainMs } = this.#start.config.values
    const deadlineMs = noticeMs + drainMs + settleMs
    await Promise.all([...this.#running.values()].map(({ worker }) => end(worker, deadlineMs)))
  }

  /** @param deaths in a row before this start */
  async #launch(number: number, deaths: number): Promise<Started> {
    const worker = this.#fork(number)
    const channel = new Channel(portOf(worker), {
      model: () => this.#model.ensureRunning(),
      metrics: () => this.#metrics(),
    })
    this.#running.set(number, { worker, channel })
    const bornAtMs = performance.now()
    let stood = false
    worker.once('exit', (code, signal) => {
      this.#running.delete(number)
      channel.close(new Error(`worker ${number} ended (${signal ?? code})`))
      if (!stood || this.#stopping) return
      this.#log.error({ worker: number, code, signal }, 'a worker died; starting it again')
      this.#again(number, performance.now() - bornAtMs > recoveredMs ? 1 : deaths + 1)
    })
    const place = { ...this.#start, worker: number } satisfies Start
    try {
      // worker.ts answers with what `Started` says
      const started = (await channel.ask('start', place, startMs)) as Started
      stood = true
      return started
    } catch (error) {
      worker.process.kill('SIGKILL')
      throw error
    }
  }

  #fork(number: number): Worker {
    const exec = fileURLToPath(new URL('./worker.ts', import.meta.url))
    // The words are for whoever looks at the list of processes.
    cluster.setupPrimary({ exec, args: [String(number), this.#start.shared.path] })
    const worker = cluster.fork()
    worker.on('error', error => this.#log.error({ worker: number, err: error }, 'the channel to a worker failed'))
    return worker
  }

  #again(number: number, deaths: number): void {
    const pauseMs = Math.min(pauseFirstMs * 2 ** (deaths - 1), pauseMaxMs)
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      this.#launch(number, deaths).catch(error => {
        this.#log.error({ worker: number, err: error }, 'a worker could not be started')
        if (!this.#stopping) this.#again(number, deaths + 1)
      })
    }, pauseMs)
    this.#timers.add(timer)
  }

  async #metrics(): Promise<string> {
    const asked = [...this.#running.values()].map(({ channel }) => channel.ask('metrics', undefined, metricsMs))
    // worker.ts answers with what `MetricsSnapshot` says; one that is just dying is left out
    const told = (await Promise.allSettled(asked)).flatMap(result =>
      result.status === 'fulfilled' ? [result.value as MetricsSnapshot] : [],
    )
    return joinMetrics(told)
  }
}

const portOf = (worker: Worker): ConstructorParameters<typeof Channel>[0] => ({
  send(message) {
    if (worker.isConnected()) worker.send(message, undefined, {}, () => undefined)
  },
  onMessage: listener => void worker.on('message', listener),
})

async function end(worker: Worker, deadlineMs: number): Promise<void> {
  if (worker.isDead()) return
  const exited = once(worker, 'exit')
  worker.process.kill('SIGTERM')
  const timer = setTimeout(() => worker.process.kill('SIGKILL'), deadlineMs)
  await exited
  clearTimeout(timer)
}
