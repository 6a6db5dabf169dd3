/**
 * Restores a backup into the running server. Calls end first and are settled, and every lease goes back, so that nothing in
 * memory or in the journal speaks of books that are about to be replaced; then the books are replaced; then calls go on.
 * Other nodes on the same database keep their leases; where the secrets differ they must be given the restored ones.
 */
import { copyFile, rename, writeFile } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { apiError } from '#contract/errors.ts'
import type { Gateway } from '#gateway/gateway.ts'
import { BackupRefused } from '#storage/backup-format.ts'
import type { Database, Queryable } from '#storage/database.ts'
import { restoreBackup } from '#storage/restore.ts'
import { adoptSecrets, type Secrets, secretsFileText } from '#storage/secrets.ts'

const drainMs = 30_000
const settleMs = 5_000
const flushMs = 30_000

export type Restoring = {
  readonly database: Database
  readonly gateway: Gateway
  readonly secrets: Secrets
  /** Where the installation's secrets are kept; undefined when they come from the settings. */
  readonly secretsFile: string | undefined
  /** Other workers of this installation run, and keep in memory the secrets that they were started with. */
  readonly hasSiblings: boolean
  readonly spoolDirectory: string
  /** Makes this machine's CLI access anew: the key of before is not in the restored books. */
  renewLocalAccess(): Promise<void>
}

export async function restoreRunning(
  restoring: Restoring,
  source: Readable,
  record: (tx: Queryable) => Promise<void>,
): Promise<{ tables: number; rows: number; schema: number }> {
  const { database, gateway, spoolDirectory } = restoring
  let restored: Secrets | undefined
  try {
    const { tables, rows, schema } = await restoreBackup(
      {
        database,
        spoolDirectory,
        beforeReplace: () => quiet(gateway),
        async adoptSecrets(secrets) {
          await keepSecrets(restoring, secrets)
          restored = secrets
        },
        beforeCommit: record,
      },
      source,
    )
    if (restored) adoptSecrets(restoring.secrets, restored)
    await restoring.renewLocalAccess()
    await gateway.grants.poll()
    return { tables, rows, schema }
  } finally {
    gateway.active.admit()
  }
}

/** Ends the calls, settles them, and hands every lease back. The backup has been checked by then: the pause is short. */
async function quiet(gateway: Gateway): Promise<void> {
  gateway.active.refuse(apiError('server_restoring'))
  await gateway.active.drain(drainMs, settleMs)
  await gateway.journal.flush(flushMs)
  await gateway.wallets.reset()
}

/** Written aside and renamed, so that a crash leaves the old secrets or the new ones, and the old ones beside them. */
async function keepSecrets({ secrets, secretsFile, hasSiblings }: Restoring, restored: Secrets): Promise<void> {
  if (secrets.pepper.equals(restored.pepper) && secrets.sealingKey.equals(restored.sealingKey)) return
  if (secretsFile === undefined) {
    throw new BackupRefused(
      'The backup was made with other secrets than key-pepper and sealing-key in the settings. Start with the ones of ' +
        'that installation, or without these settings, and restore again.',
    )
  }
  if (hasSiblings) {
    throw new BackupRefused(
      'The backup was made with other secrets than this installation has, and several workers run. Start Keyhouse with one ' +
        'worker (workers), restore, then start it with all of them.',
    )
  }
  await copyFile(secretsFile, `${secretsFile}.before-restore`)
  await writeFile(`${secretsFile}.restored`, secretsFileText(restored), { mode: 0o600, flush: true })
  await rename(`${secretsFile}.restored`, secretsFile)
}
