import type { Job } from './job.ts'

export const applyRetention: Job = {
  about: 'Drops usage and captured payloads that are older than they are to be kept.',
  cron: '41 * * * *',
  run: parts => parts.applyRetention(),
}
