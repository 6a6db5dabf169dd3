/** Puts mail into the outbox, in the transaction of what it tells of. */
import { newId, type OrganizationId } from '#contract/ids.ts'
import type { Queryable } from '#storage/database.ts'
import { insertMails } from '#storage/mails.ts'
import { type Secrets, seal } from '#storage/secrets.ts'
import { type MailAbout, type MailKind, oneLine, templates } from './templates.ts'

export type MailDraft<Kind extends MailKind> = {
  /** Null: from the installation itself. */
  readonly organizationId: OrganizationId | null
  /** Each gets a mail of its own; an address that is there twice gets one. */
  readonly to: readonly string[]
  readonly about: MailAbout<Kind>
  /** What {link} in the text becomes. It opens something, so it is sealed until it is sent. */
  readonly link?: { readonly url: string; readonly secrets: Secrets }
}

/** To nobody it does nothing: owners need not have an address. */
export async function queueMail<Kind extends MailKind>(
  tx: Queryable,
  kind: Kind,
  { organizationId, to, about, link }: MailDraft<Kind>,
): Promise<string[]> {
  const text = textOf(kind, about)
  const recipients = new Map(to.map(address => [address.toLowerCase(), address])).values()
  const mails = [...recipients].map(recipient => {
    const id = newId('mail')
    return { id, organizationId, kind, recipient, ...text, linkSealed: link ? seal(link.secrets, link.url, id) : null }
  })
  await insertMails(tx, mails)
  return mails.map(({ id }) => id)
}

function textOf<Kind extends MailKind>(kind: Kind, about: MailAbout<Kind>): { subject: string; body: string } {
  // A row and what it is about belong together by their types; for a kind that is not known yet they are alike
  const row = templates[kind] as {
    subject(about: MailAbout<Kind>): string
    body(about: MailAbout<Kind>): readonly string[]
  }
  return { subject: oneLine(row.subject(about)), body: row.body(about).join('\n\n') }
}
