// What is dropped when its time is over, what never is, and what a restore makes of it.
import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { OrganizationId } from '#contract/ids.ts'
import { writeBackup } from '#storage/backup.ts'
import { type Database, only, openDatabase, sql } from '#storage/database.ts'
import { migrate } from '#storage/migrate.ts'
import { restoreBackup } from '#storage/restore.ts'
import { loadSecrets } from '#storage/secrets.ts'
import { usageDimensions, usageMeasures } from '#storage/usage-queries.ts'
import { applyRetention, showDropped } from '#storage/usage-retention.ts'
import { rollUpUsage } from '#storage/usage-rollups.ts'
import { insertManyEvents } from './support/many-events.ts'
import { type TestDatabase, testDatabase } from './support/postgres.ts'
import { usageSums } from './support/usage-sums.ts'

let postgres: TestDatabase
let database: Database
beforeAll(async () => {
  postgres = await testDatabase()
  database = postgres.database
})
afterAll(() => postgres?.stop())

const day = 86_400
const now = Math.floor(Date.now() / 1000)
const midnight = Math.floor(now / day) * day
const shape = { projects: 2, keys: 5, models: 3 }
const usageDays = 40

const makeDay = async (at: number): Promise<void> => {
  await database.query(sql('select ensure_usage_partition((to_timestamp($1) at time zone $$UTC$$)::date)'), [at])
}
const count = async (text: string): Promise<number> =>
  Number(only(await database.query<{ count: bigint }>(sql(`select count(*) as count from ${text}`))).count)
const partitions = (): Promise<number> =>
  count(`pg_inherits where inhparent = 'usage_events'::regclass and inhrelid::regclass::text ~ '\\d{8}$'`)

const everything = (from: Database) =>
  usageSums(from, {
    // An organization need not exist to be counted
    organizationId: 'org-kept' as OrganizationId,
    from: midnight - 500 * day,
    to: midnight + day,
    bucketSeconds: day,
    now,
    filters: {},
    groupBy: usageDimensions,
    measures: usageMeasures,
  })

test('a day of events is dropped when the rollups hold all of it, and not a moment before; its sums stay for ever', async () => {
  const old = midnight - 45 * day
  for (const at of [old, old + day, midnight - 20 * day, midnight]) await makeDay(at)
  const events = { organizationId: 'org-kept', count: 300, ...shape }
  await insertManyEvents(database, { ...events, from: old, to: old + 2 * day, seed: 1 })
  await insertManyEvents(database, { ...events, from: midnight - 20 * day, to: midnight - 19 * day, seed: 2 })
  const before = await everything(database)
  const had = await partitions()

  const early = await applyRetention(database, new Date(now * 1000), { usageDays })
  expect([early.usageDays, await partitions()]).toEqual([0, had])

  await rollUpUsage(database)
  const dropped = await applyRetention(database, new Date(now * 1000), { usageDays })
  expect([dropped.usageDays, await partitions()]).toEqual([2, had - 2])
  expect(showDropped(dropped)).toContain('2 days of usage events')
  expect(await count('usage_events')).toBe(300)
  expect(await everything(database)).toEqual(before)
  expect(showDropped(await applyRetention(database, new Date(now * 1000), { usageDays }))).toBe(null)
})

test('a journal that comes after its day was dropped is counted, and its events go in their turn', async () => {
  const at = midnight - 44 * day
  const late = { organizationId: 'org-kept', count: 9, from: at, to: at + day, seed: 7, ...shape }
  const before = (await everything(database)).reduce((sum, { requests }) => sum + requests, 0n)
  await insertManyEvents(database, late)
  await applyRetention(database, new Date(now * 1000), { usageDays })
  expect(await count('usage_events_other_days')).toBe(9)
  await rollUpUsage(database)
  await applyRetention(database, new Date(now * 1000), { usageDays })
  expect(await count('usage_events_other_days')).toBe(0)
  expect((await everything(database)).reduce((sum, { requests }) => sum + requests, 0n)).toBe(before + 9n)
})

test('whoever reads usage is not kept waiting by a day that is dropped: the next run tries again', async () => {
  const at = midnight - 43 * day
  await makeDay(at)
  const had = await partitions()
  await database.transaction(async tx => {
    await tx.query(sql('select count(*) from usage_events'))
    const startedAt = performance.now()
    expect((await applyRetention(database, new Date(now * 1000), { usageDays })).usageDays).toBe(0)
    expect(performance.now() - startedAt).toBeLessThan(2_000)
  })
  expect((await applyRetention(database, new Date(now * 1000), { usageDays })).usageDays).toBe(1)
  expect(await partitions()).toBe(had - 1)
})

test('minutes are deleted after 31 days and hours after 400; days never', async () => {
  const later = new Date((now + 385 * day) * 1000)
  const days = await count('usage_days')
  expect(await count('usage_minutes')).toBeGreaterThan(0)
  await applyRetention(database, new Date((now + 15 * day) * 1000), { usageDays: 1_000 })
  expect(await count('usage_minutes')).toBe(0)
  expect(await count('usage_hours')).toBeGreaterThan(300)
  const { hours } = await applyRetention(database, later, { usageDays: 1_000 })
  expect(hours).toBeGreaterThan(0)
  expect(await count('usage_days')).toBe(days)
})

test('a restore into another cluster knows every sum, also those whose events were dropped, and goes on counting', async () => {
  await makeDay(midnight)
  const fresh = { organizationId: 'org-kept', from: midnight, to: midnight + 100, ...shape }
  await insertManyEvents(database, { ...fresh, count: 20, seed: 30 })
  await rollUpUsage(database)
  // Not rolled up when the backup is made
  await insertManyEvents(database, { ...fresh, count: 10, seed: 31 })
  const expected = await everything(database)

  const home = await mkdtemp(join(tmpdir(), 'keyhouse-test-'))
  const elsewhere = await testDatabase()
  try {
    const secrets = await loadSecrets('', { pepper: 'a1'.repeat(32), sealingKey: 'b2'.repeat(32) })
    const sink = new PassThrough()
    const file = buffer(sink)
    await writeBackup({ database, secrets, now: new Date(), version: '0.0.0' }, sink)
    // A cluster in which much was rolled up already
    await insertManyEvents(elsewhere.database, { ...fresh, organizationId: 'org-gone', count: 50, seed: 1 })
    await rollUpUsage(elsewhere.database)

    await restoreBackup({ database: elsewhere.database, spoolDirectory: home }, Readable.from([await file]))

    expect(await everything(elsewhere.database)).toEqual(expected)
    expect(await rollUpUsage(elsewhere.database)).toEqual({ rows: 0 })
    expect(await everything(elsewhere.database)).toEqual(expected)
    await insertManyEvents(elsewhere.database, { ...fresh, count: 5, seed: 32 })
    const requests = (rows: typeof expected) => rows.reduce((sum, row) => sum + row.requests, 0n)
    expect(requests(await everything(elsewhere.database))).toBe(requests(expected) + 5n)
    expect(await rollUpUsage(elsewhere.database)).toEqual({ rows: 5 })
    expect(requests(await everything(elsewhere.database))).toBe(requests(expected) + 5n)
  } finally {
    await elsewhere.stop()
    rmSync(home, { recursive: true, force: true })
  }
})

test('usage from before there were rollups is in them after the migration', async () => {
  await database.query(sql('create database before_rollups'))
  const settings = { connectionsMax: 2, connectTimeoutMs: 20_000, statementTimeoutMs: 20_000 }
  const older = openDatabase(
    { connection: { ...postgres.connection, database: 'before_rollups' }, ...settings },
    () => undefined,
  )
  try {
    await migrate(older)
    await insertManyEvents(older, {
      organizationId: 'org-kept',
      from: midnight - 90 * day,
      to: midnight,
      count: 400,
      seed: 1,
      ...shape,
    })
    await older.query(sql('update usage_events set settled_in = null'))
    const expected = await everything(older)
    await older.query(sql('select rebuild_usage_rollups()'))
    const rebuilt = await everything(older)
    expect(rebuilt.reduce((sum, { requests }) => sum + requests, 0n)).toBe(400n)
    expect(expected).toEqual([])
    expect(await rollUpUsage(older)).toEqual({ rows: 0 })
  } finally {
    await older.close()
  }
})
