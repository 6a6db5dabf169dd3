/** The ledger verifies itself: what breaks a rule is kept, logged, and shown until it is mended. */
import { formatUsd, nanoUsd } from '#core/money.ts'
import { type LedgerFinding, verifyLedger } from '#storage/ledger-verification.ts'
import type { Job, JobParts } from './job.ts'

/** Of one run; the others stand in the table. */
const loggedMax = 20

export const verifyLedgerPart: Job = {
  about: 'Checks that the ledger, grants, leases and spend windows agree: what is new, and some of the windows.',
  cron: '*/10 * * * *',
  async run(parts) {
    const findings = await verifyAndTell(parts, false)
    return findings.length === 0
      ? 'everything adds up'
      : `${findings.length} findings: keyhouse ledger verify shows them`
  },
}

type Parts = Pick<JobParts, 'database' | 'log'>

export async function verifyAndTell({ database, log }: Parts, full: boolean): Promise<LedgerFinding[]> {
  const { findings, fresh } = await verifyLedger(database, full)
  for (const finding of findings.slice(0, Math.min(fresh, loggedMax))) {
    const { rule, subject } = finding
    log.error(
      { rule, subject, ...amountsOf(finding) },
      'the money does not add up: somebody changed the database behind the server, or this is a bug. Compare with a backup; `keyhouse ledger verify --full` looks at everything',
    )
  }
  return findings
}

/** Dollars, as text; null where the rule compares no amounts. */
export const amountsOf = ({ expected, found }: LedgerFinding) => ({
  expected_usd: usd(expected),
  found_usd: usd(found),
})

const usd = (nano: string | null): string | null => (nano === null ? null : formatUsd(nanoUsd(BigInt(nano))))
