/** Who is behind a key, as the audit log shows it. */
import type { Grant } from '#core/grant.ts'
import { type Queryable, sql } from './database.ts'

export type DescribedActor = {
  readonly type: 'user' | 'service_account'
  readonly user?: { readonly id: string; readonly email: string | null }
  readonly service_account?: { readonly id: string }
}

const userById = sql('select id, email from users where id = $1')

/** A key that nobody owns is a machine's own, and stands for itself. */
export async function describeActor(database: Queryable, grant: Grant): Promise<DescribedActor> {
  if (grant.userId === null) {
    return { type: 'service_account', service_account: { id: grant.serviceAccountId ?? grant.keyId } }
  }
  const [user] = await database.query<{ id: string; email: string | null }>(userById, [grant.userId])
  return { type: 'user', user: user ?? { id: grant.userId, email: null } }
}
