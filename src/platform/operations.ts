/** The running server itself. */
import { PassThrough } from 'node:stream'
import { type ApiError, apiError } from '#contract/errors.ts'
import type { operations } from '#contract/operations.ts'
import { formatUsd } from '#core/money.ts'
import { BackupRefused } from '#storage/backup-format.ts'
import { readCredit } from '#storage/credits.ts'
import type { Queryable } from '#storage/database.ts'
import { countLedgerFindings } from '#storage/ledger-verification.ts'
import { countFailedMails, countUnreachedOrganizations } from '#storage/mails.ts'
import { operatorOrganization } from '#storage/organizations.ts'
import { record } from './change.ts'
import type { Handlers } from './handler.ts'
import { openApi } from './openapi.ts'
import type { PlatformParts } from './platform.ts'
import type { KeyCaller } from './setting-place.ts'

export const operationHandlers: Handlers<typeof operations> = {
  async status({ database, status, mail }, { grant }) {
    const { available, reserved } = await readCredit(database, grant.organizationId)
    return {
      ...(await status()),
      object: 'platform.status',
      credit: { available_usd: formatUsd(available), reserved_usd: formatUsd(reserved) },
      ledger: { findings: await countLedgerFindings(database) },
      mail: {
        set_up: mail !== undefined,
        failed: await countFailedMails(database),
        organizations_unreached: await countUnreachedOrganizations(database),
      },
    }
  },

  async config({ shownConfig }) {
    const data = shownConfig().map(({ about, ...setting }) => ({ ...setting, description: about }))
    return { object: 'list', data }
  },

  /** A snapshot that breaks off breaks the connection, so that nobody takes half of one for a whole. */
  async backup({ backup, log }) {
    const sink = new PassThrough()
    backup.write(sink).catch(error => {
      log.error({ err: error }, 'a backup broke off')
      sink.destroy(error instanceof Error ? error : new Error(String(error)))
    })
    return sink
  },

  async restore(parts, call) {
    const audit = (tx: Queryable): Promise<void> => recordRestore(tx, parts, call)
    const report = await parts.backup.restore(call.body, audit).catch(error => {
      throw error instanceof BackupRefused ? refused(error) : error
    })
    return { object: 'platform.restore', ...report }
  },

  async openapi({ version }) {
    return openApi(version)
  },
}

/** In the restored books, whose operator may be another organization: the one that restored need not be in them. */
async function recordRestore(tx: Queryable, { wallClock }: PlatformParts, { grant, source }: KeyCaller): Promise<void> {
  const organizationId = await operatorOrganization(tx)
  if (organizationId === undefined) return
  const detail = { changes_requested: { restored_from_backup: true } }
  const entry = { type: 'organization.updated', resourceId: organizationId, detail } as const
  await record(tx, { source, grant: { ...grant, organizationId } }, entry, wallClock())
}

/** Written for the operator, who is the only one to come here. */
const refused = (cause: BackupRefused): ApiError =>
  apiError('invalid_parameter', { param: null, message: cause.message, code: 'backup_refused' }, { cause })
