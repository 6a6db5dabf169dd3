import { expireCredit, organizationsWithExpiredCredit, recallLeases } from '#storage/credit-expiry.ts'
import type { Job } from './job.ts'

export const expireCreditGrants: Job = {
  about: 'Ends credit grants whose time has come; what is leased of them is asked back and ends when it returns.',
  cron: '* * * * *',
  async run({ database }) {
    const due = await organizationsWithExpiredCredit(database)
    let waiting = 0
    for (const organization of due) {
      if ((await expireCredit(database, organization)) === 0n) continue
      waiting += 1
      await recallLeases(database, organization)
    }
    return due.length === 0 ? null : `of ${due.length} organizations; ${waiting} still have some of it leased`
  },
}
