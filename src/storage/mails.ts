/** Mail on its way out: queued in the transaction of what it tells of, sent later by whichever node is free. */
import type { OrganizationId } from '#contract/ids.ts'
import { only, type Queryable, sql } from './database.ts'

export type MailState = 'queued' | 'held' | 'sent' | 'failed'

export type NewMail = {
  readonly id: string
  /** Null: from the installation itself. */
  readonly organizationId: OrganizationId | null
  readonly kind: string
  readonly recipient: string
  readonly subject: string
  readonly body: string
  readonly linkSealed: Buffer | null
}

export type MailRow = {
  id: string
  organization_id: OrganizationId | null
  kind: string
  recipient: string
  subject: string
  body: string
  link_sealed: Buffer | null
  state: MailState
  tries: number
  next_try_at: Date
  created_at: Date
  sent_at: Date | null
  failure: string | null
}

const columns = `id, organization_id, kind, recipient, subject, body, link_sealed, state, tries, next_try_at, created_at,
  sent_at, failure`
/** A node that dies with mail in its hands leaves it to the others for so long. */
const claimedFor = '5 minutes'
const failureMax = 500
const keptFor = '30 days'

export async function insertMails(tx: Queryable, mails: readonly NewMail[]): Promise<void> {
  const text = `insert into mails (id, organization_id, kind, recipient, subject, body, link_sealed)
    values ($1, $2, $3, $4, $5, $6, $7)`
  for (const { id, organizationId, kind, recipient, subject, body, linkSealed } of mails) {
    await tx.query(sql(text), [id, organizationId, kind, recipient, subject, body, linkSealed])
  }
}

/** What is due, for the caller alone; `tries` counts this one already. */
export async function claimMails(database: Queryable, most: number): Promise<MailRow[]> {
  const text = `update mails set state = 'queued', tries = tries + 1, next_try_at = now() + interval '${claimedFor}'
    where id in (select id from mails where state in ('queued', 'held') and next_try_at <= now()
      order by next_try_at, id limit $1 for update skip locked)
    returning ${columns}`
  return database.query<MailRow>(sql(text), [most])
}

/** There is no mail server: it waits for one, and for whoever reads it meanwhile. */
export async function holdMails(database: Queryable): Promise<number> {
  const held = await database.query(sql(`update mails set state = 'held' where state = 'queued' returning id`))
  return held.length
}

export async function markMailSent(database: Queryable, id: string): Promise<void> {
  const text = `update mails set state = 'sent', sent_at = now(), failure = null, link_sealed = null where id = $1`
  await database.query(sql(text), [id])
}

export async function markMailFailed(database: Queryable, id: string, failure: string): Promise<void> {
  const text = `update mails set state = 'failed', failure = $2, link_sealed = null where id = $1`
  await database.query(sql(text), [id, failure.slice(0, failureMax)])
}

export async function retryMail(
  database: Queryable,
  { id, failure, afterMs }: { readonly id: string; readonly failure: string; readonly afterMs: number },
): Promise<void> {
  const text = `update mails set failure = $2, next_try_at = now() + $3 * interval '1 millisecond'
    where id = $1 and state = 'queued'`
  await database.query(sql(text), [id, failure.slice(0, failureMax), afterMs])
}

/** What waited so long that it would only confuse, as after a mail server was named at last. */
export async function failOldMails(database: Queryable, olderThanMs: number): Promise<number> {
  const text = `update mails set state = 'failed', link_sealed = null, failure = coalesce(failure, 'it waited too long')
    where state in ('queued', 'held') and created_at < now() - $1 * interval '1 millisecond' returning id`
  return (await database.query(sql(text), [olderThanMs])).length
}

export async function trimMails(database: Queryable): Promise<number> {
  const text = `delete from mails where state in ('sent', 'failed') and created_at < now() - interval '${keptFor}'
    returning id`
  return (await database.query(sql(text))).length
}

export async function findMail(database: Queryable, id: string): Promise<MailRow | undefined> {
  const [row] = await database.query<MailRow>(sql(`select ${columns} from mails where id = $1`), [id])
  return row
}

/** Newest first; one more than `limit` says that there are more. */
export async function listMails(
  database: Queryable,
  page: { readonly state?: MailState | undefined; readonly after?: string | undefined; readonly limit: number },
): Promise<{ rows: MailRow[]; hasMore: boolean }> {
  const text = `select ${columns} from mails where ($1::text is null or state = $1)
    and ($2::text is null or (created_at, id) < (select c.created_at, c.id from mails c where c.id = $2))
    order by created_at desc, id desc limit $3`
  const found = await database.query<MailRow>(sql(text), [page.state ?? null, page.after ?? null, page.limit + 1])
  return { rows: found.slice(0, page.limit), hasMore: found.length > page.limit }
}

export async function countFailedMails(database: Queryable): Promise<number> {
  const text = `select count(*) as count from mails where state = 'failed' and created_at > now() - interval '1 day'`
  return Number(only(await database.query<{ count: bigint }>(sql(text))).count)
}

/** Where the organization's owners are reached. */
export async function ownerAddresses(database: Queryable, organization: OrganizationId): Promise<string[]> {
  const text = `select email from users where organization_id = $1 and role = 'owner' and removed_at is null
    and email is not null order by created_at, id`
  const rows = await database.query<{ email: string }>(sql(text), [organization])
  return rows.map(({ email }) => email)
}

/** Those that nobody can be told anything about. */
export async function countUnreachedOrganizations(database: Queryable): Promise<number> {
  const text = `select count(*) as count from organizations o where not exists (select from users u
    where u.organization_id = o.id and u.role = 'owner' and u.removed_at is null and u.email is not null)`
  return Number(only(await database.query<{ count: bigint }>(sql(text))).count)
}
