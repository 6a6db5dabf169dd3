/** The running server itself. */
import { PassThrough } from 'node:stream'
import { type ApiError, apiError } from '#contract/errors.ts'
import type { operations } from '#contract/operations.ts'
import { formatUsd } from '#core/money.ts'
import { BackupRefused } from '#storage/backup-format.ts'
import { readCredit } from '#storage/credits.ts'
import type { Handlers } from './handler.ts'
import { openApi } from './openapi.ts'

export const operationHandlers: Handlers<typeof operations> = {
  async status({ database, status }, { grant }) {
    const { available, reserved } = await readCredit(database, grant.organizationId)
    return {
      ...(await status()),
      object: 'platform.status',
      credit: { available_usd: formatUsd(available), reserved_usd: formatUsd(reserved) },
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

  async restore({ backup }, { body }) {
    const report = await backup.restore(body).catch(error => {
      throw error instanceof BackupRefused ? refused(error) : error
    })
    return { object: 'platform.restore', ...report }
  },

  async openapi({ version }) {
    return openApi(version)
  },
}

/** Written for the operator, who is the only one to come here. */
const refused = (cause: BackupRefused): ApiError =>
  apiError('invalid_parameter', { param: null, message: cause.message, code: 'backup_refused' }, { cause })
