// New usage stands in the minutes alone until its minute is over: pages, budgets and the ledger must not see the difference.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { OrganizationId } from '#contract/ids.ts'
import { type Database, only, sql } from '#storage/database.ts'
import { usageDimensions, usageMeasures } from '#storage/usage-queries.ts'
import { applyRetention } from '#storage/usage-retention.ts'
import { rollUpUsage, sealUsage } from '#storage/usage-rollups.ts'
import { expectExact } from './support/exact-usage.ts'
import { insertManyEvents } from './support/many-events.ts'
import { type TestDatabase, testDatabase } from './support/postgres.ts'

let postgres: TestDatabase
let database: Database
beforeAll(async () => {
  postgres = await testDatabase()
  database = postgres.database
})
afterAll(() => postgres?.stop())
beforeEach(async () => {
  await database.query(
    sql('truncate usage_events, usage_minutes, usage_hours, usage_days, usage_sealed, usage_unsealed'),
  )
})

const day = 86_400
const hour = 3_600
const now = Math.floor(Date.now() / 1000)
const organizationId = 'org-minutes' as OrganizationId
const events = { organizationId, projects: 3, keys: 10, models: 4 }

/** As if the minutes since then were not over yet. Only where hours and days hold nothing of them. */
const addedUpBefore = (at: number): Promise<unknown> =>
  database.query(sql(`update usage_rolled_up set added_up_before = date_trunc('minute', to_timestamp($1))`), [at])

/** New events into the rollups, and no minutes into hours and days. */
const rollUpOnly = (): Promise<unknown> => database.query(sql('select roll_up_usage(1000000)'))

const countOf = async (table: string): Promise<number> =>
  Number(only(await database.query<{ sum: string | null }>(sql(`select sum(requests) from ${table}`))).sum ?? 0)

async function expectExactPages(from: number): Promise<void> {
  const question = { organizationId, filters: {}, groupBy: usageDimensions, measures: usageMeasures, now }
  const stretches = [
    { from: Math.floor(from / day) * day, to: now + day, bucketSeconds: day },
    { from: from - 77, to: now + 1, bucketSeconds: day },
    { from: from - 77, to: now + 1, bucketSeconds: hour },
    { from: Math.floor(from / hour) * hour, to: now + hour, bucketSeconds: hour },
    { from: Math.max(from, now - day) - 13, to: now + 1, bucketSeconds: 60 },
  ]
  for (const stretch of stretches) await expectExact(database, { ...question, ...stretch })
  const keys = ['key_org-minutes1', 'key_org-minutes4']
  const [charged] = await database.query<{ rollups: bigint; events: bigint }>(
    sql(`select charged_to_keys($1, to_timestamp($2)) as rollups, (select coalesce(sum(charged_nano_usd), 0)::bigint
           from usage_events where api_key_id = any ($1) and occurred_at >= to_timestamp($2)) as events`),
    [keys, Math.floor(from / day) * day],
  )
  expect(charged?.rollups).toBe(charged?.events)
}

test('usage counts before its minute is over, and once when it is added up', async () => {
  const from = now - 3 * hour
  await addedUpBefore(now - 2 * hour)
  await insertManyEvents(database, { ...events, from, to: now, count: 900, seed: 1 })
  await rollUpOnly()
  expect(await countOf('usage_days')).toBeLessThan(400)
  expect(await countOf('usage_not_added_up')).toBeGreaterThan(500)
  await expectExactPages(from)
  // Nothing is sealed that lacks minutes
  await sealUsage(database, { before: new Date() })
  await expectExactPages(from)
  await rollUpUsage(database)
  await expectExactPages(from)
  await sealUsage(database, { before: new Date() })
  await expectExactPages(from)
  // A few of the last minute wait for it to be over
  expect(await countOf('usage_days')).toBeGreaterThan(840)
  expect((await countOf('usage_days')) + (await countOf('usage_not_added_up'))).toBe(900)
})

test('what comes late goes into hours and days at once', async () => {
  const from = now - 3 * hour
  await addedUpBefore(now - 300)
  await insertManyEvents(database, { ...events, from, to: now - hour, count: 500, seed: 2 })
  await rollUpOnly()
  expect(await countOf('usage_hours')).toBe(500)
  expect(await countOf('usage_not_added_up')).toBe(0)
  await expectExactPages(from)
})

test('where nothing was rolled up for longer than minutes are kept, nothing is lost and nothing counted twice', async () => {
  const from = now - 45 * day
  await addedUpBefore(now - 40 * day)
  await insertManyEvents(database, { ...events, from, to: now, count: 2_000, seed: 3 })
  await rollUpOnly()
  await expectExactPages(from)
  // Minutes that hours and days lack are kept, however old
  await addedUpBefore(now - 40 * day)
  const before = await countOf('usage_minutes')
  expect((await applyRetention(database, new Date((now + 20 * day) * 1000), { usageDays: 400 })).minutes).toBe(0)
  expect(await countOf('usage_minutes')).toBe(before)
  await rollUpUsage(database)
  await expectExactPages(from)
  expect(await countOf('usage_days')).toBeGreaterThan(1_990)
  expect(await countOf('usage_days')).toBe(await countOf('usage_hours'))
})

test('more minutes than can be added up at once are added up one after the other', async () => {
  const at = Math.floor(now / hour) * hour - 2 * hour
  await addedUpBefore(at)
  await database.query(
    sql(`insert into usage_minutes (organization_number, starts_at, group_id, requests, input_tokens, output_tokens, charged_nano_usd)
           select 1, to_timestamp($1 + n / 70000 * 60), n % 70000, 1, 1, 1, 1 from generate_series(0, 349999) n`),
    [at],
  )
  const held: number[] = []
  for (let step = 0; step < 3; step += 1) {
    await rollUpUsage(database)
    held.push(await countOf('usage_hours'))
  }
  expect(held).toEqual([140_000, 280_000, 350_000])
  expect(await countOf('usage_not_added_up')).toBe(0)
})
