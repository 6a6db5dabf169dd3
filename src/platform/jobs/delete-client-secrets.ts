import { deleteExpiredSecrets } from '#storage/expired-secrets.ts'
import type { Job } from './job.ts'

const atOnce = 1_000
const batchesMax = 50

export const deleteClientSecrets: Job = {
  about: 'Deletes client secrets that expired more than a day ago and that no usage names.',
  cron: '23 * * * *',
  async run({ database }) {
    let deleted = 0
    for (let batch = 0; batch < batchesMax; batch += 1) {
      const some = await deleteExpiredSecrets(database, atOnce)
      deleted += some
      if (some < atOnce) break
    }
    return deleted === 0 ? null : `${deleted} client secrets`
  },
}
