/** Sends what is due. A mail that is in one node's hands is in no other's; one that a crash left there comes back. */
import {
  claimMails,
  failOldMails,
  holdMails,
  type MailRow,
  markMailFailed,
  markMailSent,
  retryMail,
} from '#storage/mails.ts'
import { unseal } from '#storage/secrets.ts'
import type { JobParts } from '../jobs/job.ts'
import { type Mailer, MailRefused } from './mailer.ts'

const atOnce = 20
/** With the waits between them about two and a half days. */
const triesMax = 12
const firstWaitMs = 30_000
const waitMsMax = 8 * 3_600_000
/** Older ones are given up: an alert of last week helps nobody. */
const ageMsMax = 3 * 86_400_000

type Parts = Pick<JobParts, 'database' | 'secrets' | 'log' | 'mailer'>

/** @returns what was done; null when nothing was due */
export async function sendDueMails(parts: Parts): Promise<string | null> {
  const { database, mailer } = parts
  const old = await failOldMails(database, ageMsMax)
  if (!mailer) {
    const held = await holdMails(database)
    return held + old === 0 ? null : `${held} held: no mail server is set (smtp-url); ${old} given up`
  }
  const due = await claimMails(database, atOnce)
  let sent = 0
  for (const mail of due) if (await sendOne(parts, mailer, mail)) sent += 1
  return due.length + old === 0 ? null : `${sent} of ${due.length} sent; ${old} given up`
}

async function sendOne({ database, secrets, log }: Parts, mailer: Mailer, mail: MailRow): Promise<boolean> {
  const { id, recipient, subject, tries } = mail
  try {
    await mailer.send({ id, to: recipient, subject, text: textOf(mail, mailer, unsealed(secrets, mail)) })
    await markMailSent(database, id)
    return true
  } catch (error) {
    if (!(error instanceof MailRefused)) throw error
    const failure = error.message
    if (error.forGood || tries >= triesMax) {
      log.warn({ mail: id, kind: mail.kind, failure, tries }, 'a mail was given up; `keyhouse mail show` has it')
      await markMailFailed(database, id, failure)
    } else {
      log.warn({ mail: id, kind: mail.kind, failure, tries }, 'a mail could not be sent yet; it is tried again')
      await retryMail(database, { id, failure, afterMs: waitMs(tries) })
    }
    return false
  }
}

const waitMs = (tries: number): number => Math.min(waitMsMax, firstWaitMs * 2 ** (tries - 1))

function unsealed(secrets: Parts['secrets'], { id, link_sealed }: MailRow): string {
  if (link_sealed === null) return ''
  try {
    return unseal(secrets, link_sealed, id)
  } catch (cause) {
    throw new MailRefused('its link was sealed with another sealing-key', { forGood: true, cause })
  }
}

const textOf = ({ body }: MailRow, { publicUrl }: Mailer, link: string): string =>
  `${body.replaceAll('{link}', () => link)}\n\n-- \nKeyhouse${publicUrl === '' ? '' : ` at ${publicUrl}`}\n`
