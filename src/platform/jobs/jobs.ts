/** Everything that Keyhouse does by itself, one row a job. */
import { applyRetention } from './apply-retention.ts'
import { cleanUp } from './clean-up.ts'
import { deleteClientSecrets } from './delete-client-secrets.ts'
import { evaluateKeyBudgets } from './evaluate-key-budgets.ts'
import { evaluateSpendAlerts } from './evaluate-spend-alerts.ts'
import { expireCreditGrants } from './expire-credit-grants.ts'
import type { Job } from './job.ts'
import { promoteUsageTiers } from './promote-usage-tiers.ts'
import { remindOfRotations } from './remind-of-rotations.ts'
import { rollUpUsage } from './roll-up-usage.ts'
import { sendMail } from './send-mail.ts'
import { takeBackLeases } from './take-back-leases.ts'
import { verifyLedgerPart } from './verify-ledger.ts'

export const jobs = {
  'expire-credit': expireCreditGrants,
  'take-back-leases': takeBackLeases,
  'verify-ledger': verifyLedgerPart,
  'evaluate-spend-alerts': evaluateSpendAlerts,
  'evaluate-key-budgets': evaluateKeyBudgets,
  'promote-usage-tiers': promoteUsageTiers,
  'remind-of-rotations': remindOfRotations,
  'delete-client-secrets': deleteClientSecrets,
  'send-mail': sendMail,
  'roll-up-usage': rollUpUsage,
  'apply-retention': applyRetention,
  'clean-up': cleanUp,
} as const satisfies Readonly<Record<string, Job>>

export type JobName = keyof typeof jobs

export const jobNames = Object.keys(jobs) as JobName[]

export const isJobName = (name: string): name is JobName => Object.hasOwn(jobs, name)

/** The row, without its own exact type. */
export const jobOf = (name: JobName): Job => jobs[name]
