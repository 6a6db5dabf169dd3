/** The control plane. */
import type { Gateway } from '#gateway/gateway.ts'
import type { Inference } from '#inference/inference.ts'
import type { Metrics } from '#observe/metrics.ts'
import { fetchKeys, type LeakKeys, leakKeys, readKeysFile } from '#platform/leak-keys.ts'
import { createPlatform, type Platform } from '#platform/server.ts'
import { certificateReader } from '#src/client-certificates.ts'
import { type Config, describeConfig } from '#src/config.ts'
import { type Restoring, restoreRunning } from '#src/restore-running.ts'
import { readStatus } from '#src/status.ts'
import { version } from '#src/version.ts'
import { writeBackup } from '#storage/backup.ts'
import { type Base, now, wallClock } from './base.ts'
import { mailOf } from './jobs.ts'
import type { LocalAccess } from './local-access.ts'
import { addressReader } from './server.ts'
import type { Storage } from './storage.ts'

function openLeakKeys({ values }: Config): LeakKeys | undefined {
  const { 'leak-keys-url': url, 'leak-keys-file': file } = values
  if (url === '' && file === '') return undefined
  return leakKeys(url === '' ? readKeysFile(file) : fetchKeys(url), now)
}

export async function openPlatform(
  { config, log, warn, closing, seat, troubles }: Base,
  { database, secrets, directory }: Storage,
  parts: { gateway: Gateway; metrics: Metrics; inference: Inference; startedAtMs: number; localAccess: LocalAccess },
): Promise<Platform> {
  const { gateway, inference, metrics, startedAtMs, localAccess } = parts
  const ownSecrets = config.values['key-pepper'] === ''
  const restoring: Restoring = {
    database,
    gateway,
    secrets,
    secretsFile: ownSecrets ? directory.paths.secrets : undefined,
    hasSiblings: seat !== undefined,
    spoolDirectory: directory.path,
    renewLocalAccess: localAccess.renew,
  }
  const platform = await createPlatform({
    database,
    secrets,
    log,
    warn,
    version,
    clientAddress: addressReader(config),
    clientCertificates: certificateReader(config),
    limitsDefault: gateway.settings.limitsDefault,
    counters: gateway.counters,
    unknownKeysPerMinuteMax: gateway.settings.unknownKeysPerMinuteMax,
    leakKeys: openLeakKeys(config),
    mail: mailOf(config),
    wallClock: gateway.wallClock,
    learnChanges: () => gateway.learnChanges(),
    refused: metrics.refused,
    shownConfig: () => describeConfig(config),
    status: () => readStatus({ config, directory, database, gateway, inference, startedAtMs, troubles }),
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
