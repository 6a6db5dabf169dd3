// Rollups and the events beside them, on a real PostgreSQL: whatever happens meanwhile, a page is what the events say.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { OrganizationId } from '#contract/ids.ts'
import { type Database, only, openDatabase, type Queryable, sql } from '#storage/database.ts'
import { readUsage } from '#storage/usage-pages.ts'
import { type UsageDimension, usageDimensions, usageMeasures } from '#storage/usage-queries.ts'
import { rollUpUsage, sealUsage } from '#storage/usage-rollups.ts'
import { segmentsOf } from '#storage/usage-segments.ts'
import { expectExact, sorted } from './support/exact-usage.ts'
import { insertManyEvents } from './support/many-events.ts'
import { type TestDatabase, testDatabase } from './support/postgres.ts'
import { type UsageRow, usageSums } from './support/usage-sums.ts'

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
const shape = { projects: 3, keys: 10, models: 4 }

const ofOrganization = (organization: string) => ({
  // An organization need not exist to be counted
  organizationId: organization as OrganizationId,
  filters: {},
  groupBy: usageDimensions,
  measures: usageMeasures,
  now,
})

const inOneSnapshot = (work: (tx: Queryable) => Promise<void>): Promise<void> =>
  database.transaction(async tx => {
    await tx.query(sql('set transaction isolation level repeatable read, read only'))
    await work(tx)
  })

async function rollUpAll(): Promise<number> {
  let rows = 0
  for (let added = 1; added > 0; rows += added) added = (await rollUpUsage(database)).rows
  return rows
}

/** Whatever is over now, and not only what has been quiet for a while. */
async function sealAll(): Promise<number> {
  let buckets = 0
  for (let sealed = 1; sealed > 0; buckets += sealed) {
    sealed = (await sealUsage(database, { before: new Date(Date.now() + 1_000) })).buckets
  }
  return buckets
}

test('pages are exact before, between and after roll-ups, at every width and at edges between two buckets', async () => {
  const events = { organizationId: 'org-widths', from: midnight - 60 * day, to: midnight, ...shape }
  await insertManyEvents(database, { ...events, count: 3_000, seed: 1 })
  const stretches = [
    { from: midnight - 60 * day, to: midnight, bucketSeconds: day },
    { from: midnight - 5 * day - 7_777, to: midnight - 13, bucketSeconds: day },
    { from: midnight - 5 * day - 7_777, to: midnight - 13, bucketSeconds: 3_600 },
    { from: midnight - 40 * day - 11, to: midnight - 39 * day - 3_599, bucketSeconds: 3_600 },
    { from: midnight - day + 1, to: midnight - 3_601, bucketSeconds: 60 },
    { from: midnight - 31 * day, to: midnight - 28 * day, bucketSeconds: 60 },
    { from: midnight - 100, to: midnight - 99, bucketSeconds: day },
  ]
  const checkAll = async (): Promise<void> => {
    for (const stretch of stretches) await expectExact(database, { ...ofOrganization('org-widths'), ...stretch })
  }
  await checkAll()
  expect(await rollUpAll()).toBe(3_000)
  await checkAll()
  await sealAll()
  await checkAll()
  await insertManyEvents(database, { ...events, count: 1_000, seed: 2 })
  await checkAll()
  expect(await rollUpAll()).toBe(1_000)
  await checkAll()
  await checkAll()
})

test('once rolled up, a page of whole days does not look at a single event', async () => {
  await rollUpAll()
  const question = { ...ofOrganization('org-widths'), from: midnight - 60 * day, to: midnight, bucketSeconds: day }
  const before = await usageSums(database, question)
  // Gone from under the rollups: who reads them does not notice
  await database.query(
    sql(`update usage_events set organization_id = 'org-hidden' where organization_id = 'org-widths'`),
  )
  expect(sorted(await usageSums(database, question))).toEqual(sorted(before))
  expect(before.length).toBeGreaterThan(100)
  await database.query(
    sql(`update usage_events set organization_id = 'org-widths' where organization_id = 'org-hidden'`),
  )
})

test('a journal that comes weeks later falls into its own day, hour and minute', async () => {
  const at = midnight - 20 * day + 5 * 3_600
  const late = { organizationId: 'org-late', from: at, to: at + 50, count: 7, seed: 1, ...shape }
  await insertManyEvents(database, { ...late, from: midnight, to: midnight + 60 })
  await rollUpAll()
  await insertManyEvents(database, late)
  await rollUpAll()
  for (const bucketSeconds of [60, 3_600, day]) {
    const question = { ...ofOrganization('org-late'), from: at - day, to: at + day, bucketSeconds }
    await expectExact(database, question)
    const sums = await usageSums(database, { ...question, groupBy: [] })
    expect(sums.map(({ bucket, requests }) => [bucket, requests])).toEqual([[at - (at % bucketSeconds), 7n]])
  }
})

/** Rows of all dimensions, added up by some of them. */
function folded(rows: readonly UsageRow[], groupBy: readonly UsageDimension[]): object[] {
  const others = Object.fromEntries(
    usageDimensions.filter(name => !groupBy.includes(name)).map(name => [name, null] as const),
  )
  const sums = Map.groupBy(rows, row => JSON.stringify([row.bucket, ...groupBy.map(name => row[name])]))
  return [...sums.values()].map(parts => ({
    ...parts[0],
    ...others,
    ...Object.fromEntries(usageMeasures.map(name => [name, parts.reduce((sum, row) => sum + row[name], 0n)] as const)),
  }))
}

const subsets = <Item>(items: readonly Item[]): Item[][] =>
  Array.from({ length: 2 ** items.length }, (_, chosen) => items.filter((_, index) => chosen & (1 << index)))

describe.each(['sealed', 'not sealed'])('hours and days that are %s', how => {
  const question = { ...ofOrganization('org-widths'), from: midnight - 3 * day, to: midnight, bucketSeconds: day }
  let all: UsageRow[] = []
  beforeAll(async () => {
    const dense = { organizationId: 'org-widths', from: midnight - 9_000, to: midnight, count: 300, ...shape }
    await insertManyEvents(database, { ...dense, seed: how.length })
    await rollUpAll()
    await sealAll()
    if (how === 'not sealed') await database.query(sql('select unseal_usage()'))
    await expectExact(database, question)
    all = await usageSums(database, question)
    expect(all.length).toBeGreaterThan(50)
  }, 60_000)

  test.each([
    ['days', question],
    ['hours', { ...question, from: midnight - 30_003, to: midnight - 1_001, bucketSeconds: 3_600 }],
    ['minutes', { ...question, from: midnight - 8_001, to: midnight - 1_001, bucketSeconds: 60 }],
  ])(
    'every way of grouping %s agrees with the events',
    async (_, asked) => {
      await expectExact(database, asked)
      const rows = await usageSums(database, asked)
      const ways = subsets(usageDimensions)
      expect([ways.length, rows.length > 50]).toEqual([128, true])
      for (const groupBy of ways) {
        expect(sorted(await usageSums(database, { ...asked, groupBy }))).toEqual(sorted(folded(rows, groupBy)))
      }
    },
    90_000,
  )

  test('every filter agrees with the events, whether it is grouped by what is filtered or by something else', async () => {
    const names = usageDimensions.filter(name => name !== 'batch' && name !== 'service_tier')
    for (const name of names) {
      const value = all.find(row => row[name] !== null)?.[name] ?? ''
      const some = all.filter(row => row[name] === value)
      for (const groupBy of [usageDimensions, [], ['model'], ['api_key_id']] as const) {
        const filtered = await usageSums(database, { ...question, groupBy, filters: { [name]: [value] } })
        expect(sorted(filtered)).toEqual(sorted(folded(some, groupBy)))
      }
    }
    for (const batch of [true, false]) {
      const filtered = await usageSums(database, { ...question, filters: { batch } })
      expect(sorted(filtered)).toEqual(sorted(all.filter(row => row.batch === batch)))
    }
    const searched = await usageSums(database, { ...question, having: 'web_search_calls' })
    expect(sorted(searched)).toEqual(sorted(all.filter(row => row.web_search_calls > 0n)))
    expect(searched.length).toBeGreaterThan(1)
  })
})

test('once sealed, a page of whole hours does not look at their rollups, and a late event opens them again', async () => {
  const at = midnight - 4 * day
  const events = { organizationId: 'org-sealed', from: at, to: at + 2 * day, ...shape }
  const question = { ...ofOrganization('org-sealed'), from: at, to: at + 2 * day, bucketSeconds: 3_600 }
  const sealed = () =>
    database.query(
      sql(`select distinct width, starts_at from usage_sealed join usage_organizations o on o.number = organization_number
             where o.organization_id = 'org-sealed' order by 1, 2`),
    )
  await insertManyEvents(database, { ...events, count: 500, seed: 1 })
  await rollUpAll()
  await sealAll()
  const before = await usageSums(database, question)
  expect((await sealed()).length).toBe(2 + 48 + 48)
  await database.query(sql('create table kept_hours as table usage_hours'))
  await database.query(sql('delete from usage_hours'))
  expect(sorted(await usageSums(database, question))).toEqual(sorted(before))
  await database.query(sql('insert into usage_hours table kept_hours'))
  const minutes = { ...question, from: at + 3_600, to: at + day, bucketSeconds: 60, groupBy: ['model'] } as const
  const byMinute = await usageSums(database, minutes)
  expect(byMinute.length).toBeGreaterThan(200)
  await database.query(sql('create table kept_minutes as table usage_minutes'))
  await database.query(sql(`delete from usage_minutes where starts_at < to_timestamp(${at + day - 3_600})`))
  expect(sorted(await usageSums(database, { ...minutes, to: at + day - 3_600 }))).toEqual(
    sorted(byMinute.filter(({ bucket }) => bucket < at + day - 3_600)),
  )
  await database.query(sql('truncate usage_minutes; insert into usage_minutes table kept_minutes'))

  await insertManyEvents(database, { ...events, from: at + 7_200, to: at + 7_300, count: 3, seed: 2 })
  await expectExact(database, question)
  await rollUpAll()
  expect((await sealed()).length).toBe(1 + 47 + 47)
  await expectExact(database, question)
  expect(await sealUsage(database)).toEqual({ buckets: 0 })
  expect(await sealAll()).toBe(2)
  await expectExact(database, question)
})

test('an end that has just been is exact, and events that a clock ahead has dated after it are not in the page', async () => {
  const at = Math.floor(now / 60) * 60
  const events = { organizationId: 'org-edge', from: at - 2 * day, to: at + 1_800, count: 1_500, ...shape }
  await insertManyEvents(database, { ...events, seed: 1 })
  const check = async (): Promise<void> => {
    for (const to of [at + 17, now, now + 1, at + 100, at - 61]) {
      for (const bucketSeconds of [60, 3_600, day]) {
        await expectExact(database, { ...ofOrganization('org-edge'), from: at - day - 77, to, bucketSeconds })
      }
    }
  }
  await check()
  await rollUpAll()
  await insertManyEvents(database, { ...events, count: 100, seed: 2 })
  await check()
  await sealAll()
  await check()
})

test.each(['sealed', 'not sealed'])(
  'a page that would be made of too much ends earlier, between two buckets, and the next one goes on: %s',
  async how => {
    const question = {
      ...ofOrganization('org-widths'),
      from: midnight - 30 * day + 5,
      to: midnight,
      bucketSeconds: day,
    }
    await rollUpAll()
    await sealAll()
    if (how === 'not sealed') await database.query(sql('select unseal_usage()'))
    const whole = await usageSums(database, question)
    expect((await readUsage(database, question)).to).toBe(midnight)
    for (const bounds of [
      { sealedBytesMax: 10_000, liveRowsMax: 200 },
      { sealedBytesMax: 1, liveRowsMax: 1 },
    ]) {
      const { to } = await readUsage(database, question, bounds)
      expect([to % day, to > question.from, to < midnight]).toEqual([0, true, true])
      expect(await usageSums(database, question, bounds)).toEqual(whole)
    }
  },
)

describe('many at once', () => {
  /** A node of its own, which can be killed in the middle of what it does. */
  const aNode = (): Database =>
    openDatabase(
      {
        connection: { ...postgres.connection },
        connectionsMax: 2,
        connectTimeoutMs: 20_000,
        statementTimeoutMs: 20_000,
      },
      () => undefined,
    )

  test('nodes that roll up, write, read and are killed: no event is counted twice and none is lost, at any moment', async () => {
    const organizationId = 'org-race'
    const events = { organizationId, from: midnight - 2 * day, to: midnight, ...shape }
    const question = { ...ofOrganization(organizationId), from: events.from, to: events.to, bucketSeconds: 3_600 }
    const nodes = [aNode(), aNode(), aNode()]
    let running = true
    let [seed, looks, kills, rolledUp, sealed] = [0, 0, 0, 0, 0]
    const until = async (work: () => Promise<void>): Promise<void> => {
      while (running) await work()
    }
    const write = (): Promise<void> =>
      database.transaction(async tx => {
        seed += 1
        const mine = seed
        await insertManyEvents(tx, { ...events, count: 40, seed: mine })
        // Transactions end in another order than they began; some never do
        await sleep(Math.random() * 40)
        if (mine % 9 === 0) throw new Error('given up')
      })
    const rollUp = async (node: Database): Promise<void> => {
      const { rows } = await rollUpUsage(node, { eventsMax: 100 }).catch(() => ({ rows: 0 }))
      rolledUp += rows
      await sleep(1)
    }
    const kill = async (): Promise<void> => {
      await sleep(60)
      const killed = await database.query(
        sql(`select pg_terminate_backend(pid) from pg_stat_activity where state = 'active' and query like '%roll_up_usage(%'
               and pid <> pg_backend_pid()`),
      )
      kills += killed.length
    }
    const seal = async (node: Database): Promise<void> => {
      const { buckets } = await sealUsage(node, { before: new Date() }).catch(() => ({ buckets: 0 }))
      sealed += buckets
      await sleep(20)
    }
    const look = async (): Promise<void> => {
      await inOneSnapshot(async tx => void (await expectExact(tx, question)))
      looks += 1
    }
    const deadline = sleep(5_000).then(() => {
      running = false
    })
    try {
      await Promise.all([
        deadline,
        until(() => write().catch(() => undefined)),
        until(() => write().catch(() => undefined)),
        until(() => write().catch(() => undefined)),
        ...nodes.map(node => until(() => rollUp(node))),
        ...nodes.map(node => until(() => seal(node))),
        until(kill),
        until(look),
      ])
    } finally {
      running = false
      await Promise.all(nodes.map(node => node.close()))
    }
    await rollUpAll()
    await expectExact(database, question)
    const written = only(
      await database.query<{ count: bigint }>(sql('select count(*) from usage_events where organization_id = $1'), [
        organizationId,
      ]),
    ).count
    const [days] = await database.query<{ sum: string }>(
      sql(`select sum(requests) from usage_days d join usage_organizations o on o.number = d.organization_number
             where o.organization_id = $1`),
      [organizationId],
    )
    console.log(
      `${written} events, ${rolledUp} rolled up while writing, ${sealed} hours and days sealed, ${looks} exact pages, ${kills} roll-ups killed`,
    )
    expect(BigInt(days?.sum ?? 0)).toBe(written)
    expect(Math.min(rolledUp, looks, kills, sealed)).toBeGreaterThan(5)
  }, 40_000)

  test('while one node rolls up, another has nothing to do', async () => {
    await insertManyEvents(database, {
      organizationId: 'org-turns',
      from: midnight,
      to: midnight + 1,
      count: 5,
      seed: 1,
      ...shape,
    })
    await database.transaction(async tx => {
      await tx.query(sql('select roll_up_usage(1000)'))
      expect(await rollUpUsage(database)).toEqual({ rows: 0 })
    })
    expect(await rollUpAll()).toBe(0)
  })

  test('a transaction that is still open holds back what came after it, and pages are exact all the same', async () => {
    const events = { organizationId: 'org-open', from: midnight, to: midnight + 60, count: 5, ...shape }
    const question = { ...ofOrganization('org-open'), from: midnight, to: midnight + day, bucketSeconds: day }
    await database.transaction(async tx => {
      await insertManyEvents(tx, { ...events, seed: 1 })
      await insertManyEvents(database, { ...events, seed: 2 })
      expect(await rollUpUsage(database)).toEqual({ rows: 0 })
      await expectExact(database, question)
    })
    expect(await rollUpAll()).toBe(10)
    await expectExact(database, question)
  })
})

test('a slow database is asked for less at a time, and catches up', async () => {
  await rollUpAll()
  const events = { organizationId: 'org-slow', from: midnight - day, to: midnight, count: 1_000, ...shape }
  for (let seed = 0; seed < 20; seed += 1) await insertManyEvents(database, { ...events, seed })
  const asked: unknown[] = []
  const slow: Database = {
    ...database,
    // Stands for a deadline: a step of more than two thousand never ends in time
    query: (statement, values = []) => {
      if (statement.text.includes('roll_up_usage')) asked.push(values[0])
      if (Number(values[0]) > 2_000) return Promise.reject(Object.assign(new Error('too slow'), { code: '57014' }))
      return database.query(statement, values)
    },
  }
  expect(await rollUpUsage(slow)).toEqual({ rows: 20_000 })
  expect(asked.slice(0, 3)).toEqual([20_000, 5_000, 2_000])
  await expectExact(database, { ...ofOrganization('org-slow'), from: midnight - day, to: midnight, bucketSeconds: day })
})

test('what keys were charged since a midnight is the same from the rollups as from the events', async () => {
  const since = midnight - 10 * day
  const keys = ['key_org-widths1', 'key_org-widths4', 'key_org-late2']
  const events = { organizationId: 'org-widths', from: since - day, to: midnight, count: 40, ...shape }
  const check = async (): Promise<void> => {
    const [row] = await database.query<{ rollups: bigint; events: bigint }>(
      sql(`select charged_to_keys($1, to_timestamp($2)) as rollups, (select coalesce(sum(charged_nano_usd), 0)::bigint
             from usage_events where api_key_id = any ($1) and occurred_at >= to_timestamp($2)) as events`),
      [keys, since],
    )
    expect(row?.rollups).toBe(row?.events)
    expect(row?.events).toBeGreaterThan(0n)
  }
  await insertManyEvents(database, { ...events, seed: 501 })
  await check()
  await rollUpAll()
  await check()
})

describe('where a stretch is read from', () => {
  const at = 20_000 * day
  test.each([
    [{ from: at, to: at + 2 * day, bucketSeconds: day }, ['usage_days 0 172800']],
    [
      { from: at + 1, to: at + day + 3_661, bucketSeconds: day },
      [
        'usage_events 1 60',
        'usage_minutes 60 3600',
        'usage_hours 3600 90000',
        'usage_minutes 90000 90060',
        'usage_events 90060 90061',
      ],
    ],
    [{ from: at, to: at + day, bucketSeconds: 60 }, ['usage_minutes 0 86400']],
    [{ from: at + 5, to: at + 30, bucketSeconds: 60 }, ['usage_events 5 30']],
  ])('%j', (stretch, expected) => {
    const segments = segmentsOf({ ...stretch, now: at + 2 * day })
    expect(segments.map(({ source, from, to }) => `${source} ${from - at} ${to - at}`)).toEqual(expected)
  })

  test('minutes that are no longer kept come from the events', () => {
    const stretch = { from: at, to: at + 7_200, bucketSeconds: 60 }
    expect(segmentsOf({ ...stretch, now: at + 400 * day })).toEqual([
      { source: 'usage_events', from: at, to: at + 7_200 },
    ])
  })
})
