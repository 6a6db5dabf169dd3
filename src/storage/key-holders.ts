/** Names of what a key belongs to. */
import type { Grant } from '#core/grant.ts'
import { only, type Queryable, sql } from './database.ts'

export type KeyHolder = {
  readonly organization: string
  readonly project: string | null
  readonly owner: string | null
  readonly email: string | null
  /** It is a client secret: whoever holds it may be anybody who opened a web page. */
  readonly minted: boolean
}

const holder = sql(`select o.name as organization, p.name as project, coalesce(u.name, s.name) as owner, u.email,
    exists (select from api_keys k where k.id = $5 and k.minted_by is not null) as minted
  from organizations o left join projects p on p.id = $2 left join users u on u.id = $3
    left join service_accounts s on s.id = $4
  where o.id = $1`)

export async function readKeyHolder(database: Queryable, grant: Grant): Promise<KeyHolder> {
  const { organizationId, projectId, userId, serviceAccountId, keyId } = grant
  const values = [organizationId, projectId, userId, serviceAccountId, keyId]
  return only(await database.query<KeyHolder>(holder, values))
}
