/**
 * Restores a backup into the running server. Calls end first and are settled, and every lease goes back, so that nothing in
 * memory or in the journal speaks of books that are about to be replaced; then the books are replaced; then calls go on.
 * Other nodes on the same database must be stopped by the operator: their leases would not be in the restored books.
 */
import { copyFile, writeFile } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { apiError } from '#contract/errors.ts'
import type { Gateway } from '#gateway/gateway.ts'
import type { Database } from '#storage/database.ts'
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
  readonly spoolDirectory: string
  /** Makes this machine's CLI access anew: the key of before is not in the restored books. */
  renewLocalAccess(): Promise<void>
}

export async function restoreRunning(
  restoring: Restoring,
  source: Readable,
): Promise<{ tables: number; rows: number; schema: number }> {
  const { database, gateway, spoolDirectory } = restoring
  gateway.active.refuse(apiError('server_restoring'))
  try {
    await gateway.active.drain(drainMs, settleMs)
    await gateway.journal.flush(flushMs)
    await gateway.wallets.reset()
    let restored: Secrets | undefined
    const keep = async (secrets: Secrets): Promise<void> => {
      await keepSecrets(restoring, secrets)
      restored = secrets
    }
    const { tables, rows, schema } = await restoreBackup({ database, spoolDirectory, adoptSecrets: keep }, source)
    if (restored) adoptSecrets(restoring.secrets, restored)
    await restoring.renewLocalAccess()
    await gateway.grants.poll()
    return { tables, rows, schema }
  } finally {
    gateway.active.admit()
  }
}

async function keepSecrets({ secrets, secretsFile }: Restoring, restored: Secrets): Promise<void> {
  if (secrets.pepper.equals(restored.pepper) && secrets.sealingKey.equals(restored.sealingKey)) return
  if (secretsFile === undefined) {
    throw new Error(
      'The backup was made with other secrets than key-pepper and sealing-key in the settings. Start with the ones of ' +
        'that installation, or without these settings, and restore again.',
    )
  }
  await copyFile(secretsFile, `${secretsFile}.before-restore`)
  await writeFile(secretsFile, secretsFileText(restored), { mode: 0o600, flush: true })
}
