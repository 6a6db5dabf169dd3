/** Usage at the size of a busy month: how fast its pages and its log are, how fast it comes in, how much room it takes. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, fetch } from 'undici'
import { type Database, only, type Queryable, sql } from '#storage/database.ts'
import { onOwnConnection } from '#storage/own-connection.ts'
import { settleUsageRecords, type UsageRecord } from '#storage/usage.ts'
import { rebuildUsageRollups, rollUpUsage, sealUsage } from '#storage/usage-rollups.ts'
import { uuidv7 } from '#storage/uuid.ts'
import { insertManyEvents } from '../test/support/many-events.ts'
import { type TestPlatform, testPlatform } from '../test/support/platform.ts'
import type { Bench, BenchContext, Findings, Table } from './support/bench.ts'
import { percentile } from './support/statistics.ts'

const eventsUsual = 2_000_000
const eventsQuick = 50_000
const days = 30
/** Who is asked about: an organization of many keys that has half of all calls, one of very many that has a quarter. */
const usual = { projects: 20, keys: 200, models: 8 }
const large = { projects: 50, keys: 2_000, models: 50 }
/** The others have the rest. */
const others = 10
const eventsAtOnce = 100_000
/** What has come since the last roll-up while pages are read: a second of the speed below. */
const waitingEvents = 20_000
const pageRounds = 5
const pageMsMax = 100
/** What a page of that many results is bound by is its own size: some 30 MB of JSON, which takes so long by itself. */
const resultsMax = 10_000
const perSecondMin = 20_000
/** As many records as the journal delivers at a time. */
const batchRecords = 2_000
const ingestSeconds = 30
/** Of the rebuild, which is one statement. */
const rebuildTimeoutMs = 3_600_000

export const usage: Bench = {
  name: 'usage',
  question: 'How fast are pages of usage and the call log with a month of calls, how fast does usage come in?',
  async run(context) {
    const events = context.quick ? eventsQuick : (context.events ?? eventsUsual)
    const platform = await testPlatform()
    try {
      return await measure(platform, events, context)
    } finally {
      await platform.stop()
    }
  },
}

const daySeconds = 86_400
const today = Math.floor(Date.now() / 1000 / daySeconds) * daySeconds
const firstDay = today - (days - 1) * daySeconds

async function measure(platform: TestPlatform, events: number, context: BenchContext): Promise<Findings> {
  const { database, first, other } = platform
  const organizations = [
    { ...first, name: 'usual', shape: usual },
    { ...other, name: 'large', shape: large },
  ]
  const made = await secondsOf(() => makeEvents(platform, events, context))
  context.progress(`made ${thousands(events)} events in ${made.toFixed(0)} s`)
  const rolledUp = await secondsOf(() =>
    onOwnConnection(database, rebuildTimeoutMs, async session => {
      await session.query(sql(`set work_mem = '64MB'`))
      await rebuildUsageRollups(session)
    }),
  )
  context.progress(`rolled them up in ${rolledUp.toFixed(0)} s`)
  let buckets = 0
  const sealed = await secondsOf(async () => {
    for (let some = 1; some > 0; buckets += some) some = (await sealUsage(database, { before: new Date() })).buckets
  })
  context.progress(`sealed ${buckets} hours and days in ${sealed.toFixed(0)} s`)
  await analyze(database)
  const room = await roomOf(database, events)
  for (const { organizationId, shape } of organizations) {
    const span = { from: today, to: Date.now() / 1000, seed: 999, ...shape }
    await insertManyEvents(database, { ...span, organizationId, count: waitingEvents / 2 })
  }
  const pages: { name: string; pages: Page[] }[] = []
  for (const organization of organizations) {
    context.progress(`pages of the ${organization.name} organization`)
    pages.push({ name: organization.name, pages: await measurePages(platform, organization.adminKey) })
  }
  context.progress('the call log')
  const log = await measureLog(platform)
  context.progress('a file')
  const file = await measureFile(platform, other.adminKey)
  while ((await rollUpUsage(database)).rows > 0);
  const ingest: Ingest[] = []
  for (const shape of [usual, large]) {
    context.progress(`ingest of ${shape.keys} keys and ${shape.models} models`)
    ingest.push(await measureIngest(platform, context.quick ? 1 : ingestSeconds, shape))
  }
  const all = pages.flatMap(asked => asked.pages)
  const slowestOf = (chosen: readonly Page[]): number => Math.max(...chosen.map(({ max }) => max))
  return {
    tables: [
      ...pages.map(asked => pageTable(`Pages of usage for a month, the ${asked.name} organization`, asked.pages)),
      timeTable('The call log', 'asked for', log),
      file,
      speedTable({ events, made, rolledUp, sealed, buckets, ingest }),
      room.table,
    ],
    aims: [
      {
        what: `the slowest page of a month of at most ${thousands(resultsMax)} results, ${thousands(events)} events in the database`,
        atMost: pageMsMax,
        measured: slowestOf(all.filter(({ results }) => results <= resultsMax)),
        unit: 'ms',
      },
      {
        what: 'the slowest page of all',
        atMost: pageMsMax,
        measured: slowestOf(all),
        unit: 'ms',
      },
      {
        what: `microseconds for an event through settle_usage (${thousands(perSecondMin)} a second are 50)`,
        atMost: 1_000_000 / perSecondMin,
        measured: 1_000_000 / Math.min(...ingest.map(({ perSecond }) => perSecond)),
        unit: 'µs',
      },
    ],
    notes: [
      `${thousands(events)} events over ${days} days. Half of them are of the usual organization: ${shapeOf(usual)}, each key calling three of them. A quarter is of the large one: ${shapeOf(large)}. The rest is of ${others} others. Pages go over HTTP, authentication included, to the end of the last byte, while ${thousands(waitingEvents)} events are not rolled up yet: these are counted one by one. Each page was asked for ${pageRounds} times; of hours a month is five pages of 168. The asker runs in the process of the server.`,
      `Ingest is one node's journal: batches of ${thousands(batchRecords)} records, each in one transaction with its lease, the ledger and the spend windows, while the roll-up runs every second. What is left is what was not rolled up when the last batch came.`,
      room.note,
    ],
  }
}

const shapeOf = ({ projects, keys, models }: typeof usual): string =>
  `${projects} projects, ${thousands(keys)} keys, ${models} models`

const thousands = (count: number): string => Math.round(count).toLocaleString('en')

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return (performance.now() - startedAt) / 1000
}

/** Into tables of their own, which become days of usage with all their indexes at once: much faster than one by one. */
async function makeEvents(platform: TestPlatform, events: number, { progress }: BenchContext): Promise<void> {
  const { first, other } = platform
  const organizations = [
    { organizationId: first.organizationId, share: 1 / 2, shape: usual },
    { organizationId: other.organizationId, share: 1 / 4, shape: large },
    ...Array.from({ length: others }, (_, index) => ({
      organizationId: `org-bench-${index}`,
      share: 1 / 4 / others,
      shape: { ...usual, keys: 20 },
    })),
  ]
  const left = Array.from({ length: days }, (_, day) => day)
  const make = async (session: Queryable): Promise<void> => {
    await session.query(sql(`set maintenance_work_mem = '256MB'`))
    for (let day = left.shift(); day !== undefined; day = left.shift()) {
      const from = firstDay + day * daySeconds
      const to = Math.min(from + daySeconds, Math.floor(Date.now() / 1000))
      const into = `usage_events_${new Date(from * 1000).toISOString().slice(0, 10).replaceAll('-', '')}`
      await session.query(sql(`create table ${into} (like usage_events including constraints)`))
      for (const { organizationId, share, shape } of organizations) {
        for (const [step, count] of stepsOf(Math.ceil((events / days) * share)).entries()) {
          const seed = day * 1_000 + step
          await insertManyEvents(session, { organizationId, from, to, count, seed, into, ...shape })
        }
      }
      const bounds = [from, from + daySeconds].map(at => `'${new Date(at * 1000).toISOString()}'`)
      await session.query(
        sql(`alter table usage_events attach partition ${into} for values from (${bounds[0]}) to (${bounds[1]})`),
      )
      progress(`day ${day + 1} of ${days}`)
    }
  }
  await Promise.all([make, make].map(work => onOwnConnection(platform.database, rebuildTimeoutMs, work)))
}

const stepsOf = (count: number): number[] =>
  Array.from({ length: Math.ceil(count / eventsAtOnce) }, (_, step) =>
    Math.min(eventsAtOnce, count - step * eventsAtOnce),
  )

/** Table by table, each within its deadline: as autovacuum would have done by now. */
async function analyze(database: Database): Promise<void> {
  const tables = await database.query<{ name: string }>(
    sql(`select oid::regclass::text as name from pg_class
         where relkind = 'r' and (relname like 'usage\\_%' or relname like 'ledger\\_%')`),
  )
  for (const { name } of tables) await database.query(sql(`analyze ${name}`))
}

type Time = { readonly name: string; readonly median: number; readonly max: number }
/** How many results the largest of its answers had, and how many bytes. */
type Page = Time & { readonly results: number; readonly bytes: number }

const groupings = [
  '',
  'project_id',
  'user_id',
  'api_key_id',
  'model',
  'batch',
  'service_tier',
  'project_id,user_id',
  'project_id,model',
  'user_id,model',
  'project_id,user_id,model',
  'api_key_id,model',
]

async function measurePages(platform: TestPlatform, adminKey: string): Promise<Page[]> {
  const pages: Page[] = []
  const asked = { url: platform.url, adminKey }
  for (const groups of groupings) {
    const by = groups === '' ? '' : `&group_by=${groups}`
    const month = `start_time=${firstDay}&end_time=${today + daySeconds}${by}`
    pages.push(
      await timesOf(asked, `completions by day, ${groups || 'ungrouped'}`, [`usage/completions?${month}&limit=31`]),
    )
    const weeks = Array.from({ length: 5 }, (_, week) => firstDay + week * 168 * 3_600).filter(
      from => from < today + daySeconds,
    )
    const hours = weeks.map(
      from => `usage/completions?start_time=${from}&end_time=${from + 168 * 3_600}${by}&bucket_width=1h&limit=168`,
    )
    pages.push(await timesOf(asked, `completions by hour, ${groups || 'ungrouped'}`, hours))
  }
  const costs = `costs?start_time=${firstDay}&limit=31`
  pages.push(await timesOf(asked, 'costs by line item', [`${costs}&group_by=line_item`]))
  pages.push(await timesOf(asked, 'costs by project, until this second', [`${costs}&group_by=project_id`]))
  const noon = today - daySeconds + 43_200
  pages.push(
    await timesOf(asked, 'completions by minute, an hour', [
      `usage/completions?start_time=${noon}&end_time=${noon + 3_600}&bucket_width=1m&group_by=model`,
    ]),
  )
  const monthAgo = Math.floor(Date.now() / 1000) - (days - 1) * daySeconds
  pages.push(
    await timesOf(asked, 'completions by day of project_id,model, 29 days until now', [
      `usage/completions?start_time=${monthAgo}&group_by=project_id,model&limit=31`,
    ]),
  )
  pages.push(
    await timesOf(asked, 'completions by minute of model, a day', [
      `usage/completions?start_time=${today - daySeconds}&end_time=${today}&bucket_width=1m&limit=1440&group_by=model`,
    ]),
  )
  return pages
}

const measureLog = async (platform: TestPlatform): Promise<Time[]> => {
  const asked = { url: platform.url, adminKey: platform.first.adminKey }
  const [row] = await platform.database.query<{ request_id: string; api_key_id: string }>(
    sql(
      'select request_id, api_key_id from usage_events where organization_id = $1 and occurred_at < to_timestamp($2) order by occurred_at limit 1',
    ),
    [platform.first.organizationId, today],
  )
  const asks: readonly (readonly [string, string])[] = [
    ['the newest 20', 'calls'],
    ['the newest 100 of a project', `calls?limit=100&project_ids=proj_${platform.first.organizationId}3`],
    ['one key, three weeks ago', `calls?api_key_ids=${row?.api_key_id}&end_time=${today - 21 * daySeconds}`],
    ['dearer than anything but one in 900', 'calls?min_cost_usd=0.0000909'],
    ['what there is none of (a page looks for a second)', 'calls?models=none'],
    ['one call by its request id', `calls/${row?.request_id}`],
  ]
  const pages: Page[] = []
  for (const [name, path] of asks) pages.push(await timesOf(asked, name, [path]))
  return pages
}

type Asked = { readonly url: string; readonly adminKey: string }

/** To read the largest pages keeps this process busy for longer than the server keeps an idle connection. */
const oncePerConnection = new Agent({ pipelining: 0 })

async function timesOf({ url, adminKey }: Asked, name: string, paths: readonly string[]): Promise<Page> {
  const times: number[] = []
  let [results, bytes] = [0, 0]
  for (let round = 0; round <= pageRounds; round += 1) {
    for (const path of paths) {
      const startedAt = performance.now()
      const headers = { authorization: `Bearer ${adminKey}` }
      const signal = AbortSignal.timeout(60_000)
      const answer = await fetch(`${url}/v1/organization/${path}`, { headers, signal, dispatcher: oncePerConnection })
      const body = Buffer.from(await answer.arrayBuffer())
      // The first of each fills caches
      if (round > 0) times.push(performance.now() - startedAt)
      if (answer.status !== 200) throw new Error(body.toString())
      bytes = Math.max(bytes, body.length)
      if (round === 0) results = Math.max(results, resultsIn(body))
    }
  }
  const sorted = times.toSorted((a, b) => a - b)
  return { name, median: percentile(sorted, 50), max: sorted.at(-1) ?? Number.NaN, results, bytes }
}

/** Of a page; of what is no page none. */
function resultsIn(body: Buffer): number {
  const { data } = JSON.parse(body.toString()) as { data?: readonly { results?: readonly unknown[] }[] }
  return (data ?? []).reduce((sum, { results }) => sum + (results?.length ?? 0), 0)
}

/** Everything by hour and by all there is, as it is sent: rows, time, and what it takes of memory. */
async function measureFile({ url }: TestPlatform, adminKey: string): Promise<Table> {
  const by = 'group_by=project_id,user_id,api_key_id,model,service_tier&bucket_width=1h&format=csv'
  const before = process.memoryUsage().rss
  let [lines, bytes, peak] = [0, 0, before]
  const seconds = await secondsOf(async () => {
    const headers = { authorization: `Bearer ${adminKey}` }
    const answer = await fetch(`${url}/v1/organization/usage/export?start_time=${firstDay}&${by}`, { headers })
    if (answer.status !== 200 || !answer.body) throw new Error(await answer.text())
    for await (const piece of answer.body) {
      bytes += piece.length
      for (const byte of piece) if (byte === newline) lines += 1
      peak = Math.max(peak, process.memoryUsage().rss)
    }
  })
  const megabytes = (count: number): string => (count / 1e6).toFixed(0)
  return {
    title: 'A file of a month by hour, project, user, key, model and tier, the large organization',
    columns: ['rows', 'MB', 'seconds', 'rows a second', 'MB of memory more than before'],
    rows: [
      [thousands(lines), megabytes(bytes), seconds.toFixed(1), thousands(lines / seconds), megabytes(peak - before)],
    ],
  }
}

const newline = 10

const timeTable = (title: string, what: string, times: readonly Time[]): Table => ({
  title,
  columns: [what, 'median ms', 'slowest ms'],
  rows: times.map(({ name, median, max }) => [name, median.toFixed(1), max.toFixed(1)]),
})
const pageTable = (title: string, pages: readonly Page[]): Table => ({
  title,
  columns: ['page', 'median ms', 'slowest ms', 'results', 'MB'],
  rows: pages.map(({ name, median, max, results, bytes }) => [
    name,
    median.toFixed(1),
    max.toFixed(1),
    thousands(results),
    (bytes / 1e6).toFixed(2),
  ]),
})

type Ingest = { readonly name: string; readonly perSecond: number; readonly events: number; readonly left: number }

async function measureIngest(platform: TestPlatform, seconds: number, shape: typeof usual): Promise<Ingest> {
  const { database, first } = platform
  const lease = randomUUID()
  await database.query(sql('select * from grow_lease($1, $2, $3, null, null, null, $4, $4, $4)'), [
    lease,
    first.organizationId,
    'bench',
    50_000_000_000n,
  ])
  let running = true
  const rollingUp = (async () => {
    for (; running; await sleep(1_000)) await rollUpUsage(database)
  })()
  const refused = async (record: string, cause: unknown): Promise<void> => {
    throw new Error(`a record was refused: ${record}`, { cause })
  }
  let [events, spentMs] = [0, 0]
  while (spentMs < seconds * 1000) {
    const records = Array.from({ length: batchRecords }, (_, index) =>
      JSON.stringify(recordOf(platform, { lease, shape, index: events + index })),
    )
    const startedAt = performance.now()
    await settleUsageRecords(database, records, refused)
    spentMs += performance.now() - startedAt
    events += batchRecords
  }
  running = false
  const left = only(
    await database.query<{ left: bigint }>(
      sql('select count(*) as left from usage_events where settled_in >= (select settled_before from usage_rolled_up)'),
    ),
  ).left
  await rollingUp
  const name = `${shape.keys} keys and ${shape.models} models`
  return { name, perSecond: (events * 1000) / spentMs, events, left: Number(left) }
}

type OfRecord = { readonly lease: string; readonly shape: typeof usual; readonly index: number }

/** As the gateway writes it of a plain call, by one of many keys, which calls any of the models. */
const recordOf = ({ first }: TestPlatform, { lease, shape, index }: OfRecord): UsageRecord => {
  const key = (index * 7_919) % shape.keys
  return {
    id: uuidv7(Date.now()),
    occurred_at: new Date().toISOString(),
    request_id: `req_${randomUUID().replaceAll('-', '')}`,
    organization_id: first.organizationId,
    project_id: `proj_${first.organizationId}${key % shape.projects}`,
    api_key_id: `key_${first.organizationId}${key}`,
    user_id: null,
    endpoint: 'chat.completions',
    model: `model-${Math.floor(index / 7) % shape.models}`,
    provider: 'fake',
    upstream_model: 'model',
    outcome: 'complete',
    estimated: false,
    input_tokens: 900,
    cached_input_tokens: 0,
    output_tokens: 200,
    reasoning_tokens: 0,
    price_id: null,
    lease_id: lease,
    charged_nano_usd: '1000',
    overrun_nano_usd: '0',
    duration_ms: 700,
    first_byte_ms: 120,
    client_address: '10.0.0.1',
  }
}

type Speeds = {
  readonly events: number
  readonly made: number
  readonly rolledUp: number
  readonly sealed: number
  readonly buckets: number
  readonly ingest: readonly Ingest[]
}

function speedTable({ events, made, rolledUp, sealed, buckets, ingest }: Speeds): Table {
  const row = (what: string, count: number, seconds: number, left = '–'): string[] => [
    what,
    thousands(count / seconds),
    seconds.toFixed(0),
    left,
  ]
  return {
    title: 'Events a second',
    columns: ['what', 'a second', 'seconds', 'not rolled up at the end'],
    rows: [
      ...ingest.map(({ name, events: count, perSecond, left }) =>
        row(`settled from a journal, while rolling up: ${name}`, count, count / perSecond, thousands(left)),
      ),
      row('rolled up anew, as after a restore', events, rolledUp),
      row(`sealed, in ${thousands(buckets)} hours and days`, events, sealed),
      row('made for this bench', events, made),
    ],
  }
}

async function roomOf(database: Database, events: number): Promise<{ table: Table; note: string }> {
  const sizes = await database.query<{ name: string; table: bigint; indexes: bigint }>(
    sql(`select coalesce(p.inhparent::regclass::text, c.oid::regclass::text) as name, sum(pg_table_size(c.oid))::bigint as table,
           sum(pg_indexes_size(c.oid))::bigint as indexes
         from pg_class c left join pg_inherits p on p.inhrelid = c.oid
         where c.relkind = 'r' and (p.inhparent = 'usage_events'::regclass
           or c.relname in ('usage_groups', 'usage_days', 'usage_hours', 'usage_minutes', 'usage_sealed',
             'usage_sealed_groups', 'usage_sealed_members')) group by 1 order by 1`),
  )
  const each = (bytes: number | bigint): string => (Number(bytes) / events).toFixed(1)
  const rows = sizes.map(({ name, table, indexes }) => [name, each(table), each(indexes), each(table + indexes)])
  const bytes = sizes.reduce((sum, { table, indexes }) => sum + Number(table + indexes), 0) / events
  const ofEvents = sizes
    .filter(({ name }) => name === 'usage_events')
    .reduce((sum, { table, indexes }) => sum + Number(table + indexes), 0)
  return {
    table: { title: 'Bytes an event', columns: ['table', 'rows', 'indexes', 'together'], rows },
    note: `A billion events would take ${(((ofEvents / events) * 1e9) / 1e12).toFixed(2)} TB of events and their indexes and ${(((bytes - ofEvents / events) * 1e9) / 1e12).toFixed(2)} TB of rollups, if as many of them shared a minute as here.`,
  }
}
