/** What can be careless about keys, read for a page of them at a time. */
import type { ApiKeyId, OrganizationId, ProjectId } from '#contract/ids.ts'
import type { KeyKind } from '#core/key-format.ts'
import { ownerActive } from './api-keys.ts'
import { type Queryable, sql } from './database.ts'
import { type Page, rowsToRead, toPage } from './keyset.ts'

export type KeyHabits = {
  id: ApiKeyId
  name: string
  redacted: string
  kind: KeyKind
  project_id: ProjectId | null
  project_name: string | null
  scopes: string[]
  created_at: Date
  expires_at: Date | null
  last_used_at: Date | null
  disabled: boolean
  owner_active: boolean
  limited: boolean
  networks: number
  leaked_at: Date | null
  leaked_from: string | null
}

const networkDays = 30
/** A busy key's networks are those of its newest calls, so that a page costs the same however much it is used. */
const callsLookedAtMax = 2_000

const networks = `(select count(distinct network) from (
    select network(set_masklen(e.client_address, case family(e.client_address) when 4 then 24 else 48 end)) as network
    from usage_events e where e.api_key_id = api_keys.id and e.occurred_at > $2::timestamptz - interval '${networkDays} days'
    order by e.occurred_at desc limit ${callsLookedAtMax}) newest)::integer`

/** Of whom an address is listed: the machine's own keys, which it makes and forgets, are nobody's habit. */
const habits = sql(`select api_keys.id, api_keys.name, api_keys.redacted, api_keys.kind, api_keys.project_id,
    p.name as project_name, api_keys.scopes, api_keys.created_at, api_keys.expires_at, api_keys.last_used_at,
    api_keys.disabled_at is not null as disabled,
    case when api_keys.kind = 'admin' then coalesce(u.removed_at is null, true) else ${ownerActive} end as owner_active,
    exists (select from rate_limits l where l.scope_id = api_keys.project_id)
      or exists (select from spend_limits l where l.scope_id in (api_keys.project_id, api_keys.organization_id)) as limited,
    ${networks} as networks, leak.reported_at as leaked_at, coalesce(leak.url, leak.source) as leaked_from
  from api_keys
    left join projects p on p.id = api_keys.project_id
    left join users u on u.id = api_keys.owner_user_id
    left join service_accounts s on s.id = api_keys.service_account_id
    left join lateral (select r.reported_at, r.url, r.source from leak_reports r where r.api_key_id = api_keys.id
      order by r.reported_at desc limit 1) leak on true
  where api_keys.organization_id = $1 and api_keys.revoked_at is null and api_keys.minted_by is null
    and (api_keys.expires_at is null or api_keys.expires_at > $2)
    and (api_keys.kind <> 'admin' or ($3 and api_keys.owner_user_id is not null))
    and ($4::text is null or api_keys.id > $4)
  order by api_keys.id limit $5`)

/** Keys that live, by id. */
export async function listKeyHabits(
  database: Queryable,
  organization: OrganizationId,
  { now, adminKeysToo, after, limit }: { now: Date; adminKeysToo: boolean; after: string | undefined; limit: number },
): Promise<Page<KeyHabits>> {
  const page = { after, limit, order: 'asc' } as const
  const values = [organization, now, adminKeysToo, after ?? null, rowsToRead(page)]
  return toPage(await database.query<KeyHabits>(habits, values), page)
}
