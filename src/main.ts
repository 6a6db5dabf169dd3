/** Runs the server: compose, say where it is, wait for a signal, drain. */

import { createLog, type Log } from '#observe/log.ts'
import { banner } from '#src/banner.ts'
import { compose, type Keyhouse } from '#src/compose.ts'
import type { Config } from '#src/config.ts'
import { endProcess } from '#src/end-process.ts'
import { composeWorkers } from '#src/workers.ts'

const oneSignalMs = 1_000

/** Resolves when the server has stopped. @throws Error with one plain sentence when it cannot start. */
export async function serve(config: Config): Promise<void> {
  const log = createLog(config.values['log-level'])
  const stopping = firstSignal(log)
  const keyhouse = await (config.values.workers > 1 ? composeWorkers : compose)(config, log)
  process.stdout.write(banner(keyhouse))
  log.info({ url: keyhouse.url, data_dir: keyhouse.dataDir }, 'listening')
  const signal = await stopping
  await stop(keyhouse, signal, log)
}

/** Listens from the very start: a Ctrl-C during the start stops it cleanly once it stands. */
function firstSignal(log: Log): Promise<NodeJS.Signals> {
  return new Promise(resolve => {
    let askedAtMs: number | undefined
    const onSignal = (signal: NodeJS.Signals): void => {
      if (askedAtMs === undefined) resolve(signal)
      askedAtMs ??= performance.now()
      // One Ctrl-C may arrive twice: from the terminal, and passed on by npm
      if (performance.now() - askedAtMs < oneSignalMs) return
      log.warn({ signal }, 'stopping at once; the next start takes up what is left')
      process.exit(130)
    }
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal)
  })
}

async function stop(keyhouse: Keyhouse, signal: NodeJS.Signals, log: Log): Promise<void> {
  log.info({ signal }, 'draining; a second signal stops at once')
  await keyhouse.stop()
  log.info('stopped')
  endProcess()
}
