import { formatUsd, nanoUsd } from '#core/money.ts'
import { type DueKeyBudget, findDueKeyBudgets, keepBudgetNotice } from '#storage/due-key-budgets.ts'
import { ownerAddresses } from '#storage/mails.ts'
import { queueMail } from '../mail/queue-mail.ts'
import type { Job, JobParts } from './job.ts'

/** Percent of the budget: once a period each, and of several that are reached at once the highest. */
const steps = [80, 100]
/** In one run; the rest comes a minute later. */
const noticesMax = 500

export const evaluateKeyBudgets: Job = {
  about: "Tells a key's owner when most of its budget is spent, and when all of it is; once a period.",
  cron: '* * * * *',
  async run(parts) {
    const due = await findDueKeyBudgets(parts.database, steps, noticesMax)
    let told = 0
    for (const budget of due) if (await tell(parts, budget)) told += 1
    return told === 0 ? null : `${told} keys`
  },
}

/** To the key's owner; of a machine's key to the organization's owners. */
const tell = ({ database }: JobParts, key: DueKeyBudget): Promise<boolean> =>
  database.transaction(async tx => {
    if (!(await keepBudgetNotice(tx, key))) return false
    const { organization_id: organizationId, owner_email: owner } = key
    await queueMail(tx, 'key_budget', {
      organizationId,
      to: owner === null ? await ownerAddresses(tx, organizationId) : [owner],
      about: {
        keyId: key.id,
        name: key.name,
        redacted: key.redacted,
        project: key.project_name,
        spentUsd: formatUsd(nanoUsd(key.spent)),
        limitUsd: formatUsd(nanoUsd(key.budget)),
        period: key.period,
        percent: key.percent,
      },
    })
    return true
  })
