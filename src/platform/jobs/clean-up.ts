import type { Queryable } from '#storage/database.ts'
import { deleteOldBudgetNotices } from '#storage/due-key-budgets.ts'
import { forgetDeadJobs, trimJobRuns } from '#storage/job-runs.ts'
import { deleteOldPlaces } from '#storage/keyset.ts'
import { deleteClosedLeases } from '#storage/leases.ts'
import { deleteLeftNodes, deleteOldRecalls, trimAuthEvents } from '#storage/lost-nodes.ts'
import { trimMails } from '#storage/mails.ts'
import type { Job } from './job.ts'

/**
 * Far longer than a node is away whose journal is still expected, or than anybody asks why something was reserved; and than a
 * statement lives: one that came late to grow a lease which is deleted would begin it again, without the ledger.
 */
const closedLeaseDays = 30

/** What each deletes, for people, and how. */
const rows = [
  ['recalls of leases', deleteOldRecalls],
  ['nodes that left', deleteLeftNodes],
  ['closed leases', (database: Queryable) => deleteClosedLeases(database, closedLeaseDays)],
  ['changes to keys that every node has heard of', trimAuthEvents],
  ['notices of budgets', deleteOldBudgetNotices],
  ['runs of jobs', trimJobRuns],
  ['jobs that were given up', forgetDeadJobs],
  ['mails', trimMails],
  ['places in lists', deleteOldPlaces],
] as const

export const cleanUp: Job = {
  about: 'Deletes rows that nobody reads any more.',
  cron: '*/5 * * * *',
  async run({ database }) {
    const done: string[] = []
    for (const [name, remove] of rows) {
      const deleted = await remove(database)
      if (deleted > 0) done.push(`${deleted} ${name}`)
    }
    return done.length === 0 ? null : done.join(', ')
  },
}
