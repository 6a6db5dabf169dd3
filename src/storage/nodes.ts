/** The nodes that share this database. */
import { only, type Queryable, sql } from './database.ts'

/** A node that has not said so for this long is not counted among those that run. */
const aliveSeconds = 10

export type Cluster = {
  /** Nodes that run now, this one included. */
  readonly count: number
  /** This node's place among them, from 0; the order is the same on every node. */
  readonly rank: number
  /** This node was given up for lost and its leases were taken back: it must begin new ones. */
  readonly lost: boolean
}

const beat = sql(`with was as (select left_at is not null as lost from nodes where id = $1),
    own as (
      insert into nodes (id, version) values ($1, $2)
      on conflict (id) do update set seen_at = now(), left_at = null, version = excluded.version
      returning id)
  select coalesce((select lost from was), false) as lost, count(*) as count, count(*) filter (where id < $1) as rank
  from (select id from nodes where left_at is null and seen_at > now() - make_interval(secs => ${aliveSeconds}) and id <> $1
    union all select id from own) alive`)

/** Says that this node runs, and hears which others do. */
export async function heartbeat(database: Queryable, node: string, version: string): Promise<Cluster> {
  const row = only(await database.query<{ lost: boolean; count: bigint; rank: bigint }>(beat, [node, version]))
  return { count: Number(row.count), rank: Number(row.rank), lost: row.lost }
}

/** Only when its leases are closed. */
export async function leaveCluster(database: Queryable, node: string): Promise<void> {
  await database.query(sql('update nodes set left_at = now() where id = $1'), [node])
  await announceChange(database)
}

/** Recalls come on the same channel, and name a scope. */
export const clusterChannel = 'keyhouse_recall'

/** Tells the others, who would else notice within two seconds, that a node came or went. */
export async function announceChange(database: Queryable): Promise<void> {
  await database.query(sql(`select pg_notify('${clusterChannel}', '')`))
}
