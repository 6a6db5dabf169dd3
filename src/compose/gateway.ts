/** The data plane, and what keeps it in step with the database and with other nodes. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseUsd } from '#core/money.ts'
import { within } from '#core/within.ts'
import { ActiveCalls } from '#gateway/active-calls.ts'
import { catalogueSnapshot } from '#gateway/catalogue-snapshot.ts'
import { catchUpWith } from '#gateway/catch-up.ts'
import { Circuits } from '#gateway/circuits.ts'
import { type ClusterLink, joinCluster } from '#gateway/cluster.ts'
import { Connections } from '#gateway/connections.ts'
import { cutDeadKeys } from '#gateway/cut-dead-keys.ts'
import type { Gateway } from '#gateway/gateway.ts'
import { Grants } from '#gateway/grants.ts'
import { Paces } from '#gateway/paces.ts'
import { PayloadCapture, writePayloads } from '#gateway/payload-capture.ts'
import { Wallets } from '#gateway/wallets.ts'
import { watchGrants } from '#gateway/watch.ts'
import type { Metrics } from '#observe/metrics.ts'
import type { Provider } from '#providers/contract.ts'
import type { Config } from '#src/config.ts'
import { version } from '#src/version.ts'
import { readCatalogue } from '#storage/catalogue.ts'
import { DatabaseClock } from '#storage/database-clock.ts'
import type { Journal } from '#storage/journal.ts'
import { openCounters } from '#storage/open-counters.ts'
import { type Base, now, wallClock } from './base.ts'
import type { Storage } from './storage.ts'

/** As long as the database takes usage; it is given up sooner where nothing arrives. */
const flushMs = 10_000
const flushSilenceMs = 2_000
/** All that, and handing back what was reserved. */
const settleMs = 13_000
const capturedMs = 5_000
const partMs = 1_000
const expiredEveryMs = 250
/** Models that were just changed are waited for no longer than this. */
const catalogueMs = 500

export async function openGateway(
  base: Base,
  { database, directory, secrets, journal, node }: Storage,
  providers: readonly Provider[],
  metrics: Metrics,
): Promise<Gateway> {
  const { config, closing, onError, troubles, warn } = base
  const { values } = config
  const grants = new Grants(
    database,
    { grantsMax: values['grants-max'], freshMs: values['auth-fresh-ms'], pollMs: values['auth-poll-ms'] },
    now,
  )
  const unreadable = (provider: string, cause: unknown): void =>
    onError(`the credential of provider ${provider} cannot be opened: was the sealing key changed?`, cause)
  const catalogue = catalogueSnapshot(() => readCatalogue(database, secrets, unreadable), troubles.of('models_unread'))
  closing.add('catalogue', () => catalogue.stop())
  const connections = new Connections({
    connectTimeoutMs: values['upstream-connect-timeout-ms'],
    answerTimeoutMs: values['upstream-answer-timeout-ms'],
    silenceTimeoutMs: values['upstream-silence-timeout-ms'],
    connectionsPerUpstreamMax: values['upstream-connections-max'],
  })
  closing.add('connections', () => connections.close())
  const leaseNanoUsdMax = parseUsd(values['lease-usd-max'])
  const wallets = new Wallets({ database, node, leaseNanoUsdMax, now, sleep, onError }, values['lease-idle-ms'])
  const cluster = await joinCluster(
    database,
    { id: node, version },
    { recalled: scope => wallets.recall(scope), lost: () => wallets.doubtLeases() },
    troubles.of('cluster_unheard'),
  )
  closing.add('usage', () => within(settleMs, settleAll(journal, wallets, cluster)))
  const counters = await openCounters({
    redisUrl: values['redis-url'],
    nodes: () => cluster.current(),
    file: join(directory.path, 'rate-limits.json'),
    away: troubles.of('redis_away'),
    unkept: troubles.of('rate_limits_unkept'),
    onError,
  })
  closing.add('rate limits', () => counters.close(), partMs)
  const payloads = new PayloadCapture({
    write: writePayloads(database),
    wallClock,
    dropped: count => metrics.payloadsDropped(count),
    warn,
  })
  closing.add('captured calls', () => payloads.close(), capturedMs)
  const active = new ActiveCalls()
  grants.onChange(event => {
    // A limit may have been lowered: what this node holds of it and does not need goes back at once
    wallets.recall(event.subject_id)
    if (event.subject_kind === 'catalogue' || event.subject_kind === 'everything') void catalogue.reload()
    cutDeadKeys(database, active, event, clock.nowMs()).catch(error =>
      onError('calls of a changed key could not be checked', error),
    )
  })
  const clock = new DatabaseClock(now, wallClock, troubles.of('clock_off'))
  grants.onTime(clock.hear)
  const sweep = setInterval(() => active.cutExpired(clock.nowMs()), expiredEveryMs)
  closing.add('expired keys', () => clearInterval(sweep))
  const watch = await watchGrants(database, grants, values['auth-poll-ms'], troubles.of('database_away'))
  closing.add('watch', () => watch.stop(), partMs)
  await catalogue.reload()
  return {
    settings: gatewaySettings(config),
    secrets,
    grants,
    counters,
    cluster,
    wallets,
    journal,
    circuits: new Circuits(now, about => troubles.of('provider_failing', about)),
    paces: new Paces(),
    connections,
    active,
    payloads,
    providers: new Map(providers.map(provider => [provider.adapter, provider])),
    metrics,
    catalogue: catalogue.current,
    catchUp: catchUpWith(async () => {
      await grants.poll()
      await catalogue.settled()
    }, now),
    async learnChanges() {
      await grants.learnChanges()
      await within(catalogueMs, catalogue.settled()).catch(() => undefined)
    },
    now,
    wallClock: clock.nowMs,
    warn,
  }
}

const gatewaySettings = ({ values }: Config): Gateway['settings'] => ({
  limitsDefault: { requestsPerMinute: values['requests-per-minute'], tokensPerMinute: values['tokens-per-minute'] },
  unknownKeysPerMinuteMax: values['unknown-keys-per-minute'],
  outputTokensDefault: values['output-tokens-default'],
  clampedOutputTokensMin: values['clamped-output-tokens-min'],
  unpricedModels: values['unpriced-models'],
  testModelsForAll: values['test-models'] === 'on',
  callsMax: values['calls-max'],
  upstreamBodyBytesMax: values['upstream-body-bytes-max'],
  clientStallMs: values['client-stall-ms'],
  clientLeftMs: values['client-left-ms'],
})

/** Everything that was used reaches the database, and what was reserved goes back; else both wait for the next start. */
async function settleAll(journal: Journal, wallets: Wallets, cluster: ClusterLink): Promise<void> {
  try {
    await journal.flush(flushMs, flushSilenceMs)
    await wallets.close()
    await cluster.leave()
  } finally {
    wallets.abandon()
    await cluster.stop()
  }
}
