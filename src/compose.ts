/**
 * Builds the parts from the settings, joins them, and takes them down in reverse order, at the end or when a start fails
 * half-way. What each part needs stands in its file of compose/.
 */
import { parseUsd } from '#core/money.ts'
import { type Log, warnSparingly } from '#observe/log.ts'
import { createMetrics } from '#observe/metrics.ts'
import { ensureBuiltins } from '#platform/builtins.ts'
import { type FirstStart, firstStart } from '#platform/first-start.ts'
import { fakeModels } from '#providers/fake/models.ts'
import { closers } from '#src/closers.ts'
import { type Base, isLeader, isOn, now, wallClock } from '#src/compose/base.ts'
import { openGateway } from '#src/compose/gateway.ts'
import { openJobs } from '#src/compose/jobs.ts'
import { keepLocalAccess } from '#src/compose/local-access.ts'
import { lookAround } from '#src/compose/look-around.ts'
import { openPlatform } from '#src/compose/platform.ts'
import { createEmbeddedModel, openProviders } from '#src/compose/providers.ts'
import { openServer } from '#src/compose/server.ts'
import { openStorage } from '#src/compose/storage.ts'
import type { Config } from '#src/config.ts'
import type { Seat } from '#src/seat.ts'
import { Troubles } from '#src/troubles.ts'

export type Keyhouse = {
  readonly url: string
  readonly dataDir: string
  /** What the very first start made, keys included: shown once and kept nowhere. */
  readonly first: FirstStart | undefined
  /** The embedded model to try first; undefined when that is turned off. */
  readonly localModel: string | undefined
  stop(): Promise<void>
}

/** A key that was not revoked is at the next start. */
const localAccessMs = 1_000
const chatModelDefault = 'tinyllama-1.1b-chat'

/** @param seat of a worker; see workers.ts */
export async function compose(config: Config, log: Log, seat?: Seat): Promise<Keyhouse> {
  const closing = closers((details, message) => log.error(details, message))
  const base: Base = {
    config,
    log,
    closing,
    seat,
    troubles: new Troubles(log, wallClock),
    warn: warnSparingly(log, now),
    onError: (message, err) => log.error({ err }, message),
  }
  try {
    return await build(base)
  } catch (error) {
    await closing.closeAll()
    throw error
  }
}

async function build(base: Base): Promise<Keyhouse> {
  const { config, closing } = base
  const startedAtMs = now()
  const storage = await openStorage(base)
  const { database, secrets, directory } = storage
  const inference = createEmbeddedModel(base, directory)
  const leads = isLeader(base)
  await ensureBuiltins({ database, localModels: isOn(config, 'local-model') ? await inference.list() : [], fakeModels })
  const metrics = createMetrics()
  const gateway = await openGateway(base, storage, await openProviders(base, storage, inference), metrics)
  const localAccess = keepLocalAccess(storage)
  const platform = await openPlatform(base, storage, { gateway, inference, metrics, startedAtMs, localAccess })
  await openJobs(base, storage, { metrics, wallClock: gateway.wallClock })
  await lookAround(base, storage)
  const server = await openServer(base, storage, { gateway, platform, metrics })
  const scheme = config.values['tls-cert'] === '' ? 'http' : 'https'
  const url = `${scheme}://${urlHost(server.host)}:${server.port}`
  // Nearly last: a start that fails, on a port that is taken, must not use up the keys that are shown once
  const first = await firstStart({ database, secrets, firstCreditUsd: parseUsd(config.values['first-credit-usd']) })
  await localAccess.begin(url, leads)
  closing.add('local access', () => localAccess.end(), localAccessMs)
  if (leads && isOn(config, 'local-model')) await inference.start()
  const localModel = isOn(config, 'local-model') ? chatModelDefault : undefined
  return { url, dataDir: directory.path, first, localModel, stop: () => closing.closeAll() }
}

const urlHost = (host: string): string =>
  host === '0.0.0.0' || host === '::' ? 'localhost' : host.includes(':') ? `[${host}]` : host
