/** Keys that are to be rotated soon, and who is to be told. */
import type { ApiKeyId, OrganizationId } from '#contract/ids.ts'
import { type Queryable, sql } from './database.ts'

export type DueRotation = {
  id: ApiKeyId
  name: string
  redacted: string
  organization_id: OrganizationId
  project_name: string | null
  owner_email: string | null
  due_at: Date
  /** The nearest of the steps. */
  days_before: number
}

const dueRotations =
  sql(`select k.id, k.name, k.redacted, k.organization_id, p.name as project_name, u.email as owner_email,
    k.rotate_next_at as due_at, step.days_before
  from api_keys k
    left join projects p on p.id = k.project_id
    left join users u on u.id = k.owner_user_id and u.removed_at is null
    cross join lateral (select min(d) as days_before from unnest($1::integer[]) as d
      where k.rotate_next_at <= now() + d * interval '1 day') step
  where k.rotate_next_at is not null and k.revoked_at is null and k.disabled_at is null
    and (k.expires_at is null or k.expires_at > now()) and p.archived_at is null and step.days_before is not null
    and not exists (select from api_keys newer where newer.rotated_from = k.id)
    and not exists (select from rotation_reminders r
      where r.key_id = k.id and r.due_at = k.rotate_next_at and r.days_before <= step.days_before)
  order by k.rotate_next_at limit $2`)

export function findDueRotations(database: Queryable, steps: readonly number[], most: number): Promise<DueRotation[]> {
  return database.query<DueRotation>(dueRotations, [steps, most])
}

/** False when somebody else has told of it. */
export async function keepReminder(tx: Queryable, { id, due_at, days_before }: DueRotation): Promise<boolean> {
  const text = `insert into rotation_reminders (key_id, due_at, days_before) values ($1, $2, $3)
    on conflict do nothing returning key_id`
  return (await tx.query(sql(text), [id, due_at, days_before])).length > 0
}
