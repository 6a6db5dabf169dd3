/**
 * The entry of one worker process: a whole node that shares its port, its data directory, its database and its model's
 * process with its siblings. It is told what to do over the channel, and never outlives its primary.
 *
 * Ctrl-C in a terminal reaches every process of the group: the primary decides, a worker drains when it gets SIGTERM.
 */
import type { ModelProcess } from '#inference/model-process.ts'
import { createLog } from '#observe/log.ts'
import type { MetricsSnapshot } from '#observe/metrics.ts'
import { Channel } from '#src/channel.ts'
import { compose, type Keyhouse } from '#src/compose.ts'
import type { Config } from '#src/config.ts'
import { endProcess } from '#src/end-process.ts'
import type { Seat } from '#src/seat.ts'

/** What the primary tells with the question `start`. */
export type Start = Pick<Seat, 'worker' | 'shared' | 'connection'> & { readonly config: Config }
export type Started = Pick<Keyhouse, 'url' | 'dataDir' | 'first' | 'localModel'>

const modelStartMs = 60_000
const metricsMs = 10_000

let readMetrics: (() => Promise<MetricsSnapshot>) | undefined

const terminated = new Promise<void>(resolve => process.once('SIGTERM', () => resolve()))
for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined)
process.once('disconnect', () => process.exit(1))

const primary = new Channel(
  {
    send: message => void process.send?.(message, undefined, {}, () => undefined),
    onMessage: listener => void process.on('message', listener),
  },
  {
    // Sent by workers.ts as it stands there
    start: about => start(about as Start),
    metrics: async () => (await readMetrics?.()) ?? [],
  },
)

const modelProcess: ModelProcess = {
  ensureRunning: async () => void (await primary.ask('model', undefined, modelStartMs)),
  stop: async () => undefined,
  pid: () => null,
}

async function start({ config, ...place }: Start): Promise<Started> {
  const log = createLog(config.values['log-level']).child({ worker: place.worker })
  const keyhouse = await compose(config, log, {
    ...place,
    modelProcess,
    metricsOfAll: async () => String(await primary.ask('metrics', undefined, metricsMs)),
    onMetricsAsked(read) {
      readMetrics = read
    },
  })
  void terminated.then(() => stop(keyhouse))
  const { url, dataDir, first, localModel } = keyhouse
  return { url, dataDir, first, localModel }
}

async function stop(keyhouse: Keyhouse): Promise<void> {
  await keyhouse.stop()
  process.exitCode = 0
  process.removeAllListeners('disconnect')
  process.disconnect()
  endProcess()
}
