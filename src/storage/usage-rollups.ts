/** Adds new usage to the rollups, and seals them. The work itself is SQL: see migrations/0010-usage-pages.sql and 0011-minutes-first.sql. */
import { type Database, only, prepared, type Queryable, sql } from './database.ts'
import { onOwnConnection } from './own-connection.ts'

/** Events of one step: a fraction of a second. */
const eventsMaxUsual = 20_000
/** Steps are not made smaller than what a journal delivers at a time. */
const eventsMaxMin = 2_000
/** Steps of one call; what is still left waits for the next one. */
const stepsMax = 50

const isMinuteOver = prepared(
  'is_minute_over',
  'select added_up_before < minutes_are_over() as over from usage_rolled_up',
)
/** Once a minute, as much as came in it: with very many keys and models more than other statements may take. */
const addUpTimeoutMs = 60_000
const rollUp = prepared('roll_up_usage', 'select roll_up_usage($1) as rows')

/**
 * Step by step, each a transaction of its own. Any number of nodes may do it at once: each event is counted once.
 * @returns how many events were added; 0 while another node does it
 */
export async function rollUpUsage(
  database: Database,
  { eventsMax = eventsMaxUsual }: { readonly eventsMax?: number } = {},
): Promise<{ rows: number }> {
  await addUpMinutes(database)
  let [rows, events] = [0, eventsMax]
  for (let step = 0; step < stepsMax; step += 1) {
    const added = await takeStep(database, events).catch(error => {
      if (!wasTooSlow(error) || events <= eventsMaxMin) throw error
      events = Math.max(eventsMaxMin, Math.floor(events / 4))
      return undefined
    })
    if (added === 0) break
    rows += added ?? 0
  }
  return { rows }
}

async function addUpMinutes(database: Database): Promise<void> {
  if (!only(await database.query<{ over: boolean }>(isMinuteOver)).over) return
  await onOwnConnection(database, addUpTimeoutMs, session => session.query(sql('select add_up_minutes()')))
}

async function takeStep(database: Database, eventsMax: number): Promise<number> {
  return Number(only(await database.query<{ rows: bigint }>(rollUp, [eventsMax])).rows)
}

/** query_canceled: the statement's deadline. Nothing was done, and less at a time may be. */
const wasTooSlow = (error: unknown): boolean => (error as { code?: unknown }).code === '57014'

const seal = prepared('seal_usage', 'select seal_usage($1, $2) as buckets')

/** How long an hour or a day has to be over, and nothing may have been added to it, before it is sealed. */
const quietSeconds = 120
/** Of one step, and of one call; what is still left waits for the next one, so that roll-ups come in between. */
const sealStepMs = 200
const sealMsMax = 1_000

/**
 * Step by step, each a transaction of its own. Any number of nodes may do it at once.
 * @param before what was over, and quiet, at this time
 * @returns how many hours and days were sealed; 0 while another node does it, or rolls up
 */
export async function sealUsage(
  database: Database,
  { before = new Date(Date.now() - quietSeconds * 1000) }: { readonly before?: Date } = {},
): Promise<{ buckets: number }> {
  const startedAt = performance.now()
  let buckets = 0
  while (performance.now() - startedAt < sealMsMax) {
    const sealed = only(await database.query<{ buckets: number }>(seal, [before, sealStepMs])).buckets
    if (sealed === 0) break
    buckets += sealed
  }
  return { buckets }
}

/** For a restore, which has brought events without transactions, and holds every lock. */
export async function rebuildUsageRollups(session: Queryable): Promise<void> {
  await session.query(sql('select rebuild_usage_rollups()'))
}
