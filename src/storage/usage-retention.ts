/**
 * Drops what is no longer to be kept: days of usage events, minutes and hours of rollups, and the content of calls. Days of
 * rollups are kept for ever. A day of events is dropped only when the rollups hold all of it. Safe to run on several nodes at
 * once, and to be cut anywhere.
 */
import { type Database, only, type Queryable, sql } from './database.ts'

export type UsageRetention = {
  /** Days for which single events are kept: the call log. */
  readonly usageDays: number
}

/** Never less than the stretch that minutes are made for, so that those can be made anew from events. */
export const usageDaysMin = 32
export const usageDaysUsual = 400
const minuteDays = 31
const hourDays = 400
/** The longest that a project may keep what it captures. */
export const payloadDaysMax = 90

/** Of one statement, so that no lock is held for long. */
const rowsMax = 20_000
/** Of one run, for each table; the rest comes in the next one. */
const statementsMax = 100
/** Whoever reads usage meanwhile is not made to wait longer than this; the next run tries again. */
const lockTimeoutMs = 300

export type Dropped = {
  readonly usageDays: number
  readonly minutes: number
  readonly hours: number
  readonly payloads: number
}

export async function applyRetention(database: Database, now: Date, { usageDays }: UsageRetention): Promise<Dropped> {
  return {
    usageDays: await dropUsage(database, daysBefore(now, usageDays)),
    minutes: await dropRollups(database, 'minute', daysBefore(now, minuteDays)),
    hours: await dropRollups(database, 'hour', daysBefore(now, hourDays)),
    payloads: await dropPayloads(database, now),
  }
}

/** For people; null when nothing was due. */
export function showDropped({ usageDays, minutes, hours, payloads }: Dropped): string | null {
  const parts = [
    [usageDays, 'days of usage events'],
    [minutes, 'rows of usage by minute'],
    [hours, 'rows of usage by hour'],
    [payloads, 'captured calls'],
  ] as const
  const done = parts.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`)
  return done.length === 0 ? null : done.join(', ')
}

const dayMs = 86_400_000

/** A midnight. */
const daysBefore = (now: Date, days: number): Date => new Date((Math.floor(now.getTime() / dayMs) - days) * dayMs)

/** Whole partitions, oldest first. Those of a day are named after it. */
const partitionsBefore = (table: 'usage_events' | 'call_payloads') =>
  sql(`select name from (
      select c.relname::text as name, to_date(right(c.relname, 8), 'YYYYMMDD') as day
      from pg_inherits i join pg_class c on c.oid = i.inhrelid
      where i.inhparent = '${table}'::regclass and c.relname ~ '^${table}_\\d{8}$') days
    where day < ($1::timestamptz at time zone 'UTC')::date order by day`)

async function dropUsage(database: Database, before: Date): Promise<number> {
  let dropped = 0
  for (const { name } of await database.query<{ name: string }>(partitionsBefore('usage_events'), [before])) {
    const gone = await withoutWaiting(database, tx => dropRolledUpDay(tx, name))
    if (!gone) break
    dropped += 1
  }
  await deleteInSteps(database, rolledUpStrays, [before])
  return dropped
}

/** The lock comes first: nothing can be added to the day between the look at it and its end. */
async function dropRolledUpDay(tx: Queryable, partition: string): Promise<boolean> {
  await tx.query(sql(`lock table usage_events, ${partition} in access exclusive mode`))
  const look = `select exists (select from ${partition}
    where settled_in >= (select settled_before from usage_rolled_up)) as waiting`
  const { waiting } = only(await tx.query<{ waiting: boolean }>(sql(look)))
  if (waiting) return false
  await tx.query(sql(`drop table ${partition}`))
  await tx.query(
    sql(
      `update usage_dropped set before = greatest(before, (to_date($1, 'YYYYMMDD') + 1)::timestamp at time zone 'UTC')`,
    ),
    [partition.slice(-8)],
  )
  return true
}

/** What came for a day whose partition was gone. */
const rolledUpStrays = sql(`delete from usage_events_other_days where (id, occurred_at) in (
    select id, occurred_at from usage_events_other_days where occurred_at < $1
      and occurred_at < (select before from usage_dropped)
      and (settled_in is null or settled_in < (select settled_before from usage_rolled_up)) limit ${rowsMax})
  returning 1`)

/** Never minutes that hours and days do not hold yet. */
const oldRollups = (table: 'usage_minutes' | 'usage_hours') =>
  sql(`delete from ${table} where ctid = any (array(select ctid from ${table}
         where starts_at < least($1, (select added_up_before from usage_rolled_up)) limit ${rowsMax}))
       returning 1`)

/** What is sealed of them goes first: it says the same. */
async function dropRollups(database: Database, width: 'minute' | 'hour', before: Date): Promise<number> {
  await deleteInSteps(database, oldSealed, [before, width])
  return deleteInSteps(database, oldRollups(`usage_${width}s`), [before])
}

const oldSealed = sql(`delete from usage_sealed where (organization_number, width, grouping, starts_at) in (
    select organization_number, width, grouping, starts_at from usage_sealed
    where width = $2 and starts_at < $1 limit ${rowsMax})
  returning 1`)

/** A project that has no row captures nothing any more, and keeps nothing. */
const expiredPayloads = sql(`delete from call_payloads where (request_id, captured_at) in (
    select p.request_id, p.captured_at from call_payloads p left join payload_capture c using (project_id)
    where c.project_id is null or p.captured_at < $1::timestamptz - make_interval(days => c.retention_days)
    limit ${rowsMax})
  returning 1`)

async function dropPayloads(database: Database, now: Date): Promise<number> {
  const before = daysBefore(now, payloadDaysMax)
  for (const { name } of await database.query<{ name: string }>(partitionsBefore('call_payloads'), [before])) {
    const gone = await withoutWaiting(database, async tx => {
      await tx.query(sql(`drop table ${name}`))
      return true
    })
    if (!gone) break
  }
  return deleteInSteps(database, expiredPayloads, [now])
}

async function deleteInSteps(database: Database, statement: { text: string }, values: unknown[]): Promise<number> {
  let deleted = 0
  for (let step = 0; step < statementsMax; step += 1) {
    const { length } = await database.query(statement, values)
    deleted += length
    if (length < rowsMax) break
  }
  return deleted
}

const lockNotAvailable = '55P03'
const deadlock = '40P01'
const undefinedTable = '42P01'

/** False where somebody else has the table, or another node has dropped it just now. */
async function withoutWaiting(database: Database, work: (tx: Queryable) => Promise<boolean>): Promise<boolean> {
  try {
    return await database.transaction(async tx => {
      await tx.query(sql(`set local lock_timeout = ${lockTimeoutMs}`))
      return work(tx)
    })
  } catch (error) {
    const { code } = error as { code?: unknown }
    if (code === lockNotAvailable || code === deadlock || code === undefinedTable) return false
    throw error
  }
}
