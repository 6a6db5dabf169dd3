/** Spend alerts that have been reached and were not told of in this month. */
import type { OrganizationId } from '#contract/ids.ts'
import { type Queryable, sql } from './database.ts'

export type DueAlert = {
  id: string
  scope_id: string
  starts_at: Date
  spent: bigint
  threshold: bigint
  threshold_percent: number | null
  recipients: string[]
  subject_prefix: string | null
  organization_id: OrganizationId
  /** Null: of the organization. */
  project_name: string | null
  organization_name: string
}

/** Of one organization: whoever edits alerts again and again must not flood others' mailboxes. What is due beyond waits. */
const mailsADayMax = 500
const mayMail = (
  organization: string,
): string => `(select count(*) from mails m where m.organization_id = ${organization}
  and m.kind = 'spend_alert' and m.created_at > now() - interval '1 day') < ${mailsADayMax}`

const reached = `w.spent_nano_usd > 0 and w.spent_nano_usd >= spend_alert_threshold(a)`

/** In no order: each is told of by itself. */
const dueAlerts =
  sql(`select a.id, a.scope_id, w.starts_at, w.spent_nano_usd as spent, spend_alert_threshold(a) as threshold,
    a.threshold_percent, a.recipients, a.subject_prefix, o.id as organization_id, p.name as project_name,
    o.name as organization_name
  from spend_alerts a
    join spend_windows w on w.scope_id = a.scope_id and w.period = 'month' and w.starts_at = window_start('month', now())
    left join projects p on p.id = a.scope_id
    join organizations o on o.id = coalesce(p.organization_id, a.scope_id)
  where p.archived_at is null and ${reached} and ${mayMail('o.id')}
    and not exists (select from spend_alert_firings f where f.alert_id = a.id and f.starts_at = w.starts_at)
  limit $1`)

export function findDueAlerts(database: Queryable, most: number): Promise<DueAlert[]> {
  return database.query<DueAlert>(dueAlerts, [most])
}

/** False when it was told of before, is there no more, or its organization has had its mails of the day. */
export async function fireAlert(
  tx: Queryable,
  { id, starts_at, spent, threshold, organization_id }: DueAlert,
): Promise<boolean> {
  const fire = `update spend_alerts set last_fired_at = now() where id = $1 and ${mayMail('$2')} returning id`
  if ((await tx.query(sql(fire), [id, organization_id])).length === 0) return false
  const text = `insert into spend_alert_firings (alert_id, starts_at, spent_nano_usd, threshold_nano_usd)
    values ($1, $2, $3, $4) on conflict do nothing returning alert_id`
  return (await tx.query(sql(text), [id, starts_at, spent, threshold])).length > 0
}

/** After an edit of its threshold: one whose threshold is beyond what is spent will be reached anew. */
export async function rearmAlert(tx: Queryable, id: string): Promise<void> {
  const text = `delete from spend_alert_firings f using spend_alerts a, spend_windows w
    where a.id = $1 and f.alert_id = a.id and w.scope_id = a.scope_id and w.period = 'month' and f.starts_at = w.starts_at
      and (${reached}) is not true`
  await tx.query(sql(text), [id])
}
