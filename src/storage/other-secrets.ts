/** Whether the keys in the database were made with the secrets that this node has. */
import { only, prepared, type Queryable } from './database.ts'
import type { Secrets } from './secrets.ts'

/** Of a million keys these say as much, and a start does not wait for the rest. */
const keysMax = 10_000

const countLiving = prepared(
  'count_living_by_pepper',
  `select count(*) filter (where pepper_id = $1)::int as own, count(*) filter (where pepper_id <> $1)::int as others
     from (select pepper_id from api_keys
       where revoked_at is null and (expires_at is null or expires_at > now()) limit ${keysMax}) looked_at`,
)

/**
 * Living keys, by whose they are. A node with other secrets than the rest mints a few itself, for its own command line for
 * instance: most of them say to whom the database belongs.
 */
export const livingKeysBySecrets = async (
  database: Queryable,
  { pepperId }: Secrets,
): Promise<{ own: number; others: number }> =>
  only(await database.query<{ own: number; others: number }>(countLiving, [pepperId]))
