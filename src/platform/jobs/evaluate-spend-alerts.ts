import { formatUsd, nanoUsd } from '#core/money.ts'
import { type DueAlert, findDueAlerts, fireAlert } from '#storage/due-alerts.ts'
import { ownerAddresses } from '#storage/mails.ts'
import { queueMail } from '../mail/queue-mail.ts'
import type { Job, JobParts } from './job.ts'

/** In one run; the rest comes a minute later. */
const alertsMax = 500

export const evaluateSpendAlerts: Job = {
  about:
    'Tells whoever asked to be told when an organization or a project has spent so much in the month; once a month.',
  cron: '* * * * *',
  async run(parts) {
    const due = await findDueAlerts(parts.database, alertsMax)
    let fired = 0
    for (const alert of due) if (await tell(parts, alert)) fired += 1
    return fired === 0 ? null : `${fired} alerts`
  },
}

/** False when another node was first. */
const tell = ({ database }: JobParts, alert: DueAlert): Promise<boolean> =>
  database.transaction(async tx => {
    if (!(await fireAlert(tx, alert))) return false
    const owners = await ownerAddresses(tx, alert.organization_id)
    await queueMail(tx, 'spend_alert', {
      organizationId: alert.organization_id,
      to: [...alert.recipients, ...owners],
      about: {
        where:
          alert.project_name === null ? alert.organization_name : `${alert.project_name} of ${alert.organization_name}`,
        spentUsd: formatUsd(nanoUsd(alert.spent)),
        thresholdUsd: formatUsd(nanoUsd(alert.threshold)),
        percent: alert.threshold_percent,
        month: alert.starts_at.toISOString().slice(0, 7),
        prefix: alert.subject_prefix,
      },
    })
    return true
  })
