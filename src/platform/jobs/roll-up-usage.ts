import type { Job } from './job.ts'

export const rollUpUsage: Job = {
  about: 'Adds new usage to the sums that usage and costs are answered from.',
  cron: '* * * * *',
  everyMs: 1_000,
  async run(parts) {
    const events = await parts.rollUpUsage()
    return events === 0 ? null : `${events} usage events`
  },
}
