/** The outbox, for the operator. What opens something is in no answer. */
import { apiError } from '#contract/errors.ts'
import type { mails } from '#contract/mails.ts'
import { findMail, listMails, type MailRow } from '#storage/mails.ts'
import type { Handlers } from './handler.ts'
import { queueMail } from './mail/queue-mail.ts'
import { toList, unixSeconds, unixSecondsOrNull } from './page.ts'

export const mailHandlers: Handlers<typeof mails> = {
  async list({ database }, { query }) {
    return toList(await listMails(database, query), toMail, ({ id }) => id)
  },

  async retrieve({ database }, { params }) {
    const mail = existing(await findMail(database, params.mail_id))
    return { ...toMail(mail), text: mail.body }
  },

  /** Not a change: nothing of anybody's is another than before, so there is no entry in the audit log. */
  async test({ database }, { grant, body }) {
    const [id = ''] = await queueMail(database, 'test', {
      organizationId: grant.organizationId,
      to: [body.to],
      about: {},
    })
    return toMail(existing(await findMail(database, id)))
  },
}

function existing(row: MailRow | undefined): MailRow {
  if (!row) throw apiError('not_found', { what: 'mail' })
  return row
}

const toMail = (row: MailRow) => ({
  object: 'platform.mail' as const,
  id: row.id,
  organization_id: row.organization_id,
  kind: row.kind,
  recipient: row.recipient,
  subject: row.subject,
  state: row.state,
  tries: row.tries,
  created_at: unixSeconds(row.created_at),
  sent_at: unixSecondsOrNull(row.sent_at),
  next_try_at: row.state === 'queued' ? unixSeconds(row.next_try_at) : null,
  failure: row.failure,
})
