import { sendDueMails } from '../mail/send-due-mails.ts'
import type { Job } from './job.ts'

export const sendMail: Job = {
  about: 'Sends the mail that is due, and tries again what a mail server did not take.',
  cron: '* * * * *',
  everyMs: 5_000,
  run: sendDueMails,
}
