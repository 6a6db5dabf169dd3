/** Whether the money adds up. */
import type { ledger } from '#contract/ledger.ts'
import { type LedgerFinding, openLedgerFindings } from '#storage/ledger-verification.ts'
import type { Handlers } from './handler.ts'
import { amountsOf, verifyAndTell } from './jobs/verify-ledger.ts'
import { unixSeconds } from './page.ts'

export const ledgerHandlers: Handlers<typeof ledger> = {
  async retrieve({ database }) {
    return toVerification(await openLedgerFindings(database))
  },

  async verify(parts, { body }) {
    return toVerification(await verifyAndTell(parts, body.full))
  },
}

const toVerification = (findings: readonly LedgerFinding[]) => ({
  object: 'platform.ledger_verification' as const,
  adds_up: findings.length === 0,
  findings: findings.map(finding => ({
    rule: finding.rule,
    subject: finding.subject,
    ...amountsOf(finding),
    found_at: unixSeconds(finding.found_at),
    seen_at: unixSeconds(finding.seen_at),
  })),
})
