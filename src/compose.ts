/**
 * The only file that knows everything that exists: builds the parts from the settings, joins them, and takes them down
 * in reverse order, at the end or when a start fails half-way.
 */
import type { IncomingMessage } from 'node:http'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { apiError } from '#contract/errors.ts'
import { addressList, clientAddress } from '#core/address.ts'
import { parseUsd } from '#core/money.ts'
import { ActiveCalls } from '#gateway/active-calls.ts'
import { catalogueSnapshot } from '#gateway/catalogue-snapshot.ts'
import { Circuits } from '#gateway/circuits.ts'
import { Connections } from '#gateway/connections.ts'
import { cutDeadKeys } from '#gateway/cut-dead-keys.ts'
import type { Gateway } from '#gateway/gateway.ts'
import { Grants } from '#gateway/grants.ts'
import { gatewayRoutes } from '#gateway/routes.ts'
import { Wallets } from '#gateway/wallets.ts'
import { watchGrants } from '#gateway/watch.ts'
import { operationRoutes } from '#http/operations.ts'
import { type FastRoute, type Listening, listen } from '#http/server.ts'
import { createInference, type Inference } from '#inference/inference.ts'
import type { Log } from '#observe/log.ts'
import { createMetrics, type Metrics } from '#observe/metrics.ts'
import { ensureBuiltins } from '#platform/builtins.ts'
import { type FirstStart, firstStart } from '#platform/first-start.ts'
import { fetchKeys, type LeakKeys, leakKeys, readKeysFile } from '#platform/leak-keys.ts'
import { mintLocalAccess } from '#platform/local-access.ts'
import { createPlatform, type Platform } from '#platform/server.ts'
import type { Provider } from '#providers/contract.ts'
import { fakeModels } from '#providers/fake/models.ts'
import { startFakeUpstream } from '#providers/fake/upstream.ts'
import { onSocket } from '#providers/on-socket.ts'
import { openAiCompatible } from '#providers/openai-compatible.ts'
import { certificateReader, readTlsFiles } from '#src/client-certificates.ts'
import { type Closers, closers } from '#src/closers.ts'
import { type Config, describeConfig, splitList } from '#src/config.ts'
import { keepDatabase } from '#src/keep-database.ts'
import { nodeId } from '#src/node-id.ts'
import { type Restoring, restoreRunning } from '#src/restore-running.ts'
import { readStatus, unready } from '#src/status.ts'
import { version } from '#src/version.ts'
import { writeBackup } from '#storage/backup.ts'
import { readCatalogue } from '#storage/catalogue.ts'
import { memoryCounters } from '#storage/counters.ts'
import { type DataDirectory, openDataDirectory, usualDataDirectory } from '#storage/data-directory.ts'
import { type Database, openDatabase } from '#storage/database.ts'
import { Journal } from '#storage/journal.ts'
import { closeLeasesOf } from '#storage/leases.ts'
import { migrate } from '#storage/migrate.ts'
import { keepRejected } from '#storage/rejected.ts'
import { loadSecrets, type Secrets } from '#storage/secrets.ts'
import { ensureUsagePartitions, settleUsageRecords } from '#storage/usage.ts'

export type Keyhouse = {
  readonly url: string
  readonly dataDir: string
  /** What the very first start made, keys included: shown once and kept nowhere. */
  readonly first: FirstStart | undefined
  /** The embedded model to try first; undefined when that is turned off. */
  readonly localModel: string | undefined
  stop(): Promise<void>
}

/** A stopping server gives the calls that it cut this long to settle. */
const settleMs = 5_000
const flushMs = 10_000
const modelStopMs = 3_000
const replayMs = 60_000
const segmentBytesMax = 8 * 1024 * 1024
const partitionsEveryMs = 3_600_000

/** What every part is built from. */
type Base = {
  readonly config: Config
  readonly log: Log
  readonly closing: Closers
  onError(message: string, error: unknown): void
}

type Storage = {
  readonly directory: DataDirectory
  readonly secrets: Secrets
  readonly database: Database
  readonly journal: Journal
  readonly node: string
}

const chatModelDefault = 'tinyllama-1.1b-chat'

const now = (): number => performance.now()
const wallClock = (): number => Date.now()

export async function compose(config: Config, log: Log): Promise<Keyhouse> {
  const closing = closers((details, message) => log.error(details, message))
  const base = { config, log, closing, onError: (message: string, err: unknown) => log.error({ err }, message) }
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
  const first = await firstStart({ database, secrets, firstCreditUsd: parseUsd(config.values['first-credit-usd']) })
  await ensureBuiltins({ database, localModels: isOn(config, 'local-model') ? await inference.list() : [], fakeModels })
  const metrics = createMetrics()
  const gateway = await openGateway(base, storage, await openProviders(base, storage, inference), metrics)
  const localAccess = keepLocalAccess(storage)
  const platform = await openPlatform(base, storage, { gateway, inference, metrics, startedAtMs, localAccess })
  const server = await openServer(base, storage, { gateway, platform, metrics })
  const scheme = config.values['tls-cert'] === '' ? 'http' : 'https'
  const url = `${scheme}://${urlHost(server.host)}:${server.port}`
  await localAccess.begin(url)
  closing.add('local access', () => localAccess.end())
  if (isOn(config, 'local-model')) await inference.start()
  const localModel = isOn(config, 'local-model') ? chatModelDefault : undefined
  return { url, dataDir: directory.path, first, localModel, stop: () => closing.closeAll() }
}

const isOn = ({ values }: Config, name: 'local-model' | 'test-models'): boolean => values[name] === 'on'

const urlHost = (host: string): string =>
  host === '0.0.0.0' || host === '::' ? 'localhost' : host.includes(':') ? `[${host}]` : host

async function openStorage(base: Base): Promise<Storage> {
  const { config, log, closing, onError } = base
  const { values } = config
  const machine = { env: process.env, platform: process.platform, home: homedir() }
  const directory = await openDataDirectory(values['data-dir'] || usualDataDirectory(machine))
  closing.add('data directory', () => directory.release())
  const given = { pepper: values['key-pepper'], sealingKey: values['sealing-key'] }
  const secrets = await loadSecrets(directory.paths.secrets, given)
  const database = openDatabase(
    {
      connection: await keepDatabase(values['database-url'], directory, log, closing),
      connectionsMax: values['database-connections-max'],
      connectTimeoutMs: values['database-timeout-ms'],
      statementTimeoutMs: values['database-timeout-ms'],
    },
    error => onError('a database connection failed', error),
  )
  closing.add('database', () => database.close())
  const { from, to } = await migrate(database).catch(error => explainDatabase(values['database-url'], error))
  if (from !== to) log.info({ from, to }, 'database migrated')
  await keepPartitions(database, closing, onError)
  const node = await nodeId(directory.path)
  const journal = await openJournal(base, directory, database)
  await reconcile(database, journal, node, log)
  return { directory, secrets, database, journal, node }
}

/** Node's and PostgreSQL's words for a server that cannot be reached, or does not let us in. */
const unusable = /^(E[A-Z]+|08...|28...|3D000|57P03)$/

function explainDatabase(databaseUrl: string, error: Error & { code?: string }): never {
  if (databaseUrl === '' || !unusable.test(error.code ?? '')) throw error
  throw new Error(
    `The PostgreSQL that DATABASE_URL (database-url) names cannot be used: ${error.message}. Start it, mend the setting, ` +
      'or leave it out to use the embedded one.',
    { cause: error },
  )
}

/** Made at the start and every hour for the days ahead, so that no call ever waits for it. */
async function keepPartitions(database: Database, closing: Closers, onError: Base['onError']): Promise<void> {
  const ensure = () => ensureUsagePartitions(database, new Date(wallClock()))
  await ensure()
  const timer = setInterval(() => {
    ensure().catch(error => onError('the next days of the usage table could not be made', error))
  }, partitionsEveryMs)
  closing.add('partitions', () => clearInterval(timer))
}

async function openJournal(base: Base, directory: DataDirectory, database: Database): Promise<Journal> {
  const { values } = base.config
  const settings = {
    directory: directory.paths.journal,
    segmentBytesMax,
    bytesMax: values['journal-bytes-max'],
  }
  const rejected = keepRejected(join(directory.path, 'rejected-usage.log'), base.onError)
  const journal = await Journal.open(settings, records => settleUsageRecords(database, records, rejected), base.onError)
  base.closing.add('journal', () => journal.close())
  return journal
}

/** What an earlier run could not finish: first its journal, then the leases that nothing in the journal speaks for. */
async function reconcile(database: Database, journal: Journal, node: string, log: Log): Promise<void> {
  const { waiting } = journal.report()
  await journal.flush(replayMs)
  const leases = await closeLeasesOf(database, node)
  if (waiting > 0 || leases > 0) log.info({ usage_records: waiting, leases }, 'took up what the last run left')
}

function createEmbeddedModel({ config, log, closing }: Base, directory: DataDirectory): Inference {
  const inference = createInference({
    directory: directory.paths.models,
    socketPath: join(directory.paths.run, 'model.sock'),
    threads: config.values['local-model-threads'],
    queueMax: config.values['local-model-queue-max'],
    log,
  })
  closing.add('embedded model', () => inference.stop({ deadlineMs: modelStopMs }))
  return inference
}

async function openProviders({ closing }: Base, { directory }: Storage, inference: Inference): Promise<Provider[]> {
  const fakeSocket = join(directory.paths.run, 'fake.sock')
  const fake = await startFakeUpstream({ socketPath: fakeSocket, recordsMax: 0 })
  closing.add('fake provider', () => fake.stop())
  return [
    openAiCompatible,
    onSocket({ adapter: 'fake', socketPath: fakeSocket }),
    onSocket({
      adapter: 'local',
      socketPath: inference.socketPath,
      prepare: ({ upstreamModel }) => prepareLocalModel(inference, upstreamModel),
    }),
  ]
}

const loadingRetryMs = 5_000

async function prepareLocalModel(inference: Inference, model: string): Promise<void> {
  const { status, percent = 0, reason = '' } = inference.state(model)
  if (status === 'downloading') throw apiError('model_loading', { model, percent }, { retryAfterMs: loadingRetryMs })
  if (status === 'absent') {
    throw apiError('model_unavailable', {
      model,
      reason: `it has not been fetched. Run \`keyhouse models pull ${model}\`.`,
    })
  }
  if (status === 'failed') throw apiError('model_unavailable', { model, reason })
  await inference.ensureRunning().catch(cause => {
    const reason = 'its process does not start. The log says why; `keyhouse doctor` checks it.'
    throw apiError('model_unavailable', { model, reason }, { cause })
  })
}

async function openGateway(
  base: Base,
  { database, secrets, journal, node }: Storage,
  providers: readonly Provider[],
  metrics: Metrics,
): Promise<Gateway> {
  const { config, closing, onError, log } = base
  const { values } = config
  const grants = new Grants(
    database,
    { grantsMax: values['grants-max'], freshMs: values['auth-fresh-ms'], pollMs: values['auth-poll-ms'] },
    now,
  )
  const unreadable = (provider: string, cause: unknown): void =>
    onError(`the credential of provider ${provider} cannot be opened: was the sealing key changed?`, cause)
  const catalogue = catalogueSnapshot(() => readCatalogue(database, secrets, unreadable), onError)
  closing.add('catalogue', () => catalogue.stop())
  const connections = new Connections({
    connectTimeoutMs: values['upstream-connect-timeout-ms'],
    answerTimeoutMs: values['upstream-answer-timeout-ms'],
    silenceTimeoutMs: values['upstream-silence-timeout-ms'],
    connectionsPerUpstreamMax: values['upstream-connections-max'],
  })
  closing.add('connections', () => connections.close())
  const leases = { leaseNanoUsdMax: parseUsd(values['lease-usd-max']), idleMs: values['lease-idle-ms'] }
  const wallets = new Wallets(database, node, leases, onError)
  closing.add('usage', () => settleAll(journal, wallets))
  const active = new ActiveCalls()
  grants.onChange(event => {
    if (event.subject_kind === 'catalogue' || event.subject_kind === 'everything') void catalogue.reload()
    cutDeadKeys(database, active, event, wallClock()).catch(error =>
      onError('calls of a changed key could not be checked', error),
    )
  })
  const watch = await watchGrants(database, grants, values['auth-poll-ms'], onError)
  closing.add('watch', () => watch.stop())
  await catalogue.reload()
  return {
    settings: gatewaySettings(config),
    secrets,
    grants,
    counters: memoryCounters(now),
    wallets,
    journal,
    circuits: new Circuits(now),
    connections,
    active,
    providers: new Map(providers.map(provider => [provider.adapter, provider])),
    metrics,
    catalogue: catalogue.current,
    now,
    wallClock,
    warn: (details, message) => log.warn(details, message),
  }
}

const gatewaySettings = ({ values }: Config): Gateway['settings'] => ({
  limitsDefault: { requestsPerMinute: values['requests-per-minute'], tokensPerMinute: values['tokens-per-minute'] },
  unknownKeysPerMinuteMax: values['unknown-keys-per-minute'],
  outputTokensDefault: values['output-tokens-default'],
  unpricedModels: values['unpriced-models'],
  testModelsForAll: values['test-models'] === 'on',
  callsMax: values['calls-max'],
  upstreamBodyBytesMax: values['upstream-body-bytes-max'],
  clientStallMs: values['client-stall-ms'],
})

/** Everything that was used reaches the database, and what was reserved goes back; else both wait for the next start. */
async function settleAll(journal: Journal, wallets: Wallets): Promise<void> {
  try {
    await journal.flush(flushMs)
  } catch (error) {
    wallets.abandon()
    throw error
  }
  await wallets.close()
}

type Built = { readonly gateway: Gateway; readonly metrics: Metrics }

function addressReader({ values }: Config): (request: IncomingMessage) => string {
  const proxies = addressList(splitList(values['trusted-proxies']))
  return ({ socket, headers }) => {
    const forwardedFor = headers['x-forwarded-for']
    return clientAddress(
      socket.remoteAddress ?? '',
      Array.isArray(forwardedFor) ? forwardedFor.join() : forwardedFor,
      proxies,
    )
  }
}

type LocalAccess = { begin(url: string): Promise<void>; renew(): Promise<void>; end(): Promise<void> }

/** The CLI's key on this machine, made anew at each start, and once more when a backup took its place. */
function keepLocalAccess({ database, secrets, directory }: Storage): LocalAccess {
  const file = join(directory.path, 'cli.json')
  let address = ''
  let access: { revoke(): Promise<void> } | undefined
  const renew = async (): Promise<void> => {
    access = await mintLocalAccess({ database, secrets, file, url: address })
  }
  return {
    begin(url) {
      address = url
      return renew()
    },
    renew,
    end: async () => access?.revoke(),
  }
}

function openLeakKeys({ values }: Config): LeakKeys | undefined {
  const { 'leak-keys-url': url, 'leak-keys-file': file } = values
  if (url === '' && file === '') return undefined
  return leakKeys(url === '' ? readKeysFile(file) : fetchKeys(url), now)
}

async function openPlatform(
  { config, log, closing }: Base,
  { database, secrets, directory }: Storage,
  parts: Built & { inference: Inference; startedAtMs: number; localAccess: LocalAccess },
): Promise<Platform> {
  const { gateway, inference, metrics, startedAtMs, localAccess } = parts
  const ownSecrets = config.values['key-pepper'] === ''
  const restoring: Restoring = {
    database,
    gateway,
    secrets,
    secretsFile: ownSecrets ? directory.paths.secrets : undefined,
    spoolDirectory: directory.path,
    renewLocalAccess: localAccess.renew,
  }
  const platform = await createPlatform({
    database,
    secrets,
    log,
    version,
    clientAddress: addressReader(config),
    clientCertificates: certificateReader(config),
    limitsDefault: gateway.settings.limitsDefault,
    counters: gateway.counters,
    unknownKeysPerMinuteMax: gateway.settings.unknownKeysPerMinuteMax,
    leakKeys: openLeakKeys(config),
    wallClock,
    refused: metrics.refused,
    shownConfig: () => describeConfig(config),
    status: () => readStatus({ config, directory, database, gateway, inference, startedAtMs }),
    localModels: inference,
    backup: {
      async write(sink) {
        await writeBackup({ database, secrets, version, now: new Date(wallClock()) }, sink)
      },
      restore: (source, record) => restoreRunning(restoring, source, record),
    },
  })
  closing.add('platform', () => platform.close())
  return platform
}

async function openServer(
  { config, log, closing }: Base,
  { database }: Storage,
  { gateway, platform, metrics }: Built & { platform: Platform },
): Promise<Listening> {
  const { values } = config
  let draining = false
  const calls = gatewayRoutes.map(
    ({ method, path, run }): FastRoute => ({
      method,
      path,
      run: (exchange, parameter) => run(gateway, exchange, parameter),
    }),
  )
  const operations = operationRoutes({
    unready: () => unready(gateway, database, draining),
    metrics: async () => ({ text: await metrics.text(), contentType: metrics.contentType }),
    metricsToken: values['metrics-token'],
  })
  metrics.watch({
    callsActive: () => gateway.active.count,
    journalWaiting: () => gateway.journal.report().waiting,
    journalBytes: () => gateway.journal.report().bytes,
    grantsRemembered: () => gateway.grants.size,
    stalenessSeconds: () => gateway.grants.stalenessMs / 1000,
  })
  const server = await listen(
    {
      host: values.host,
      port: values.port,
      bodyBytesMax: values['body-bytes-max'],
      bodyTimeoutMs: values['body-timeout-ms'],
      clientAddress: addressReader(config),
      clientCertificates: certificateReader(config),
      tls: readTlsFiles(config),
      headerBytesMax: values['header-bytes-max'],
      headersTimeoutMs: values['headers-timeout-ms'],
      keepAliveTimeoutMs: values['keep-alive-timeout-ms'],
    },
    [...calls, ...operations],
    (request, response, exchange) => platform.handle(request, response, exchange.requestId),
    { log, refused: metrics.refused },
  )
  closing.add('server', () => server.close())
  closing.add('calls in flight', () => gateway.active.drain(values['drain-ms'], settleMs))
  closing.add('accepting', () => {
    draining = true
    server.stopAccepting()
  })
  return server
}
