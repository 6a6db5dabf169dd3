/** Usage at the size of a busy month: how fast its pages and its log are, how fast it comes in, how much room it takes. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { OrganizationId } from '#contract/ids.ts'
import { type Database, only, sql } from '#storage/database.ts'
import { settleUsageRecords, type UsageRecord } from '#storage/usage.ts'
import { rollUpUsage } from '#storage/usage-rollups.ts'
import { insertManyEvents } from '../test/support/many-events.ts'
import { type TestPlatform, testPlatform } from '../test/support/platform.ts'
import type { Bench, BenchContext, Findings, Table } from './support/bench.ts'
import { percentile } from './support/statistics.ts'

/** `BENCH_EVENTS=20000000 npm run bench -- usage` is the size that the aims are for: about 20 GB of disk for a while. */
const eventsUsual = 2_000_000
const eventsQuick = 50_000
const days = 30
/** Half of all calls are of one organization, which is the one that is asked about. */
const others = 19
const shape = { projects: 20, keys: 200, models: 8 }
/** What has come since the last roll-up while pages are read: three seconds of the speed below. */
const waitingEvents = 60_000
const pageRounds = 5
const pageMsMax = 100
const perSecondMin = 20_000
/** As many records as the journal delivers at a time. */
const batchRecords = 2_000
const ingestSeconds = 15

export const usage: Bench = {
  name: 'usage',
  question: 'How fast are pages of usage and the call log with a month of calls, how fast does usage come in?',
  async run(context) {
    const events = context.quick ? eventsQuick : Number(process.env.BENCH_EVENTS ?? eventsUsual)
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
  const { database } = platform
  const rolling = rollUpMeanwhile(database)
  const made = await secondsOf(() => makeEvents(platform, events, context))
  context.progress(`made ${thousands(events)} events in ${made.toFixed(0)} s`)
  const rolledUp = await rolling.end()
  context.progress(`rolled them up in ${rolledUp.toFixed(0)} s of that and since`)
  await analyze(database)
  const room = await roomOf(database, events)
  for (const organizationId of [platform.first.organizationId, 'org-bench-0']) {
    const span = { from: today, to: Date.now() / 1000, seed: 999, ...shape }
    await insertManyEvents(database, { ...span, organizationId, count: waitingEvents / 2 })
  }
  context.progress('pages')
  const pages = await measurePages(platform)
  context.progress('the call log')
  const log = await measureLog(platform)
  await rollUpUsage(database)
  context.progress('ingest')
  const ingest = await measureIngest(platform, context.quick ? 1 : ingestSeconds)
  const slowest = Math.max(...pages.map(({ max }) => max))
  return {
    tables: [pageTable(pages), logTable(log), speedTable({ events, made, rolledUp, ingest }), room.table],
    aims: [
      {
        what: `the slowest page of a month, ${thousands(events)} events in the database`,
        atMost: pageMsMax,
        measured: slowest,
        unit: 'ms',
      },
      {
        what: `microseconds for an event through settle_usage (${thousands(perSecondMin)} a second are 50)`,
        atMost: 1_000_000 / perSecondMin,
        measured: 1_000_000 / ingest.perSecond,
        unit: 'µs',
      },
    ],
    notes: [
      `${thousands(events)} events over ${days} days, half of them of the organization that is asked about: ${shape.projects} projects, ${shape.keys} keys, ${shape.models} models. Pages and the log go over HTTP, authentication included, while ${thousands(waitingEvents)} events are not rolled up yet: these are counted one by one. Each page was asked for ${pageRounds} times; of hours a month is five pages of 168.`,
      `Ingest is one node's journal: batches of ${thousands(batchRecords)} records, each in one transaction with its lease, the ledger and the spend windows, while the roll-up runs every second.`,
      room.note,
    ],
  }
}

const thousands = (count: number): string => Math.round(count).toLocaleString('en')

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return (performance.now() - startedAt) / 1000
}

async function makeEvents(
  { database, first }: TestPlatform,
  events: number,
  { progress }: BenchContext,
): Promise<void> {
  for (let day = 0; day < days; day += 1) {
    const from = firstDay + day * daySeconds
    await database.query(sql(`select ensure_usage_partition((to_timestamp($1) at time zone 'UTC')::date)`), [from])
    const to = Math.min(from + daySeconds, Math.floor(Date.now() / 1000))
    const span = { from, to, ...shape }
    const half = Math.ceil(events / days / 2)
    const steps = Math.ceil(half / 100_000)
    for (let step = 0; step < steps; step += 1) {
      const seed = day * 1_000 + step
      await insertManyEvents(database, {
        ...span,
        organizationId: first.organizationId,
        count: Math.ceil(half / steps),
        seed,
      })
    }
    for (let other = 0; other < others; other += 1) {
      const organizationId = `org-bench-${other}` as OrganizationId
      await insertManyEvents(database, {
        ...span,
        organizationId,
        count: Math.ceil(half / others),
        seed: day,
        keys: 20,
      })
    }
    progress(`day ${day + 1} of ${days}`)
  }
}

/** As jobs do it, while events come in. @returns how to end it: the seconds that it has worked */
function rollUpMeanwhile(database: Database): { end(): Promise<number> } {
  let isEnding = false
  const work = (async () => {
    let seconds = 0
    for (let rows = 1; !isEnding || rows > 0; await sleep(rows > 0 ? 0 : 500)) {
      seconds += await secondsOf(async () => {
        rows = (await rollUpUsage(database)).rows
      })
    }
    return seconds
  })()
  return {
    end() {
      isEnding = true
      return work
    },
  }
}

/** Table by table, each within its deadline: as autovacuum would have done by now. */
async function analyze(database: Database): Promise<void> {
  const tables = await database.query<{ name: string }>(
    sql(`select oid::regclass::text as name from pg_class
         where relkind = 'r' and (relname like 'usage\\_%' or relname like 'ledger\\_%')`),
  )
  for (const { name } of tables) await database.query(sql(`analyze ${name}`))
}

type Page = { readonly name: string; readonly median: number; readonly max: number }

const groupings = [
  '',
  'project_id',
  'user_id',
  'api_key_id',
  'model',
  'service_tier',
  'project_id,model',
  'api_key_id,model',
]

async function measurePages(platform: TestPlatform): Promise<Page[]> {
  const pages: Page[] = []
  for (const groups of groupings) {
    const by = groups === '' ? '' : `&group_by=${groups}`
    const month = `start_time=${firstDay}&end_time=${today + daySeconds}${by}`
    pages.push(
      await timesOf(platform, `completions by day, ${groups || 'ungrouped'}`, [`usage/completions?${month}&limit=31`]),
    )
    const weeks = Array.from({ length: 5 }, (_, week) => firstDay + week * 168 * 3_600).filter(
      from => from < today + daySeconds,
    )
    const hours = weeks.map(
      from => `usage/completions?start_time=${from}&end_time=${from + 168 * 3_600}${by}&bucket_width=1h&limit=168`,
    )
    pages.push(await timesOf(platform, `completions by hour, ${groups || 'ungrouped'}`, hours))
  }
  const costs = `costs?start_time=${firstDay}&limit=31`
  pages.push(await timesOf(platform, 'costs by line item', [`${costs}&group_by=line_item`]))
  pages.push(await timesOf(platform, 'costs by project, until this second', [`${costs}&group_by=project_id`]))
  const noon = today - daySeconds + 43_200
  pages.push(
    await timesOf(platform, 'completions by minute, an hour', [
      `usage/completions?start_time=${noon}&end_time=${noon + 3_600}&bucket_width=1m&group_by=model`,
    ]),
  )
  return pages
}

const measureLog = async (platform: TestPlatform): Promise<Page[]> => {
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
  for (const [name, path] of asks) pages.push(await timesOf(platform, name, [path]))
  return pages
}

async function timesOf({ url, first }: TestPlatform, name: string, paths: readonly string[]): Promise<Page> {
  const times: number[] = []
  for (let round = 0; round <= pageRounds; round += 1) {
    for (const path of paths) {
      const startedAt = performance.now()
      const headers = { authorization: `Bearer ${first.adminKey}` }
      const answer = await fetch(`${url}/v1/organization/${path}`, { headers, signal: AbortSignal.timeout(60_000) })
      const text = await answer.text()
      if (answer.status !== 200) throw new Error(text)
      // The first of each fills caches
      if (round > 0) times.push(performance.now() - startedAt)
    }
  }
  const sorted = times.toSorted((a, b) => a - b)
  return { name, median: percentile(sorted, 50), max: sorted.at(-1) ?? Number.NaN }
}

const timeTable = (title: string, what: string, pages: readonly Page[]): Table => ({
  title,
  columns: [what, 'median ms', 'slowest ms'],
  rows: pages.map(({ name, median, max }) => [name, median.toFixed(1), max.toFixed(1)]),
})
const pageTable = (pages: readonly Page[]): Table => timeTable('Pages of usage for a month', 'page', pages)
const logTable = (pages: readonly Page[]): Table => timeTable('The call log', 'asked for', pages)

type Ingest = { readonly perSecond: number; readonly events: number; readonly left: number }

async function measureIngest(platform: TestPlatform, seconds: number): Promise<Ingest> {
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
      JSON.stringify(recordOf(platform, lease, events + index)),
    )
    const startedAt = performance.now()
    await settleUsageRecords(database, records, refused)
    spentMs += performance.now() - startedAt
    events += batchRecords
  }
  running = false
  await rollingUp
  const left = only(
    await database.query<{ left: bigint }>(
      sql('select count(*) as left from usage_events where settled_in >= (select settled_before from usage_rolled_up)'),
    ),
  ).left
  return { perSecond: (events * 1000) / spentMs, events, left: Number(left) }
}

/** As the gateway writes it, of one of many keys. */
const recordOf = ({ first }: TestPlatform, lease: string, index: number): UsageRecord => {
  const key = index % shape.keys
  return {
    id: randomUUID(),
    occurred_at: new Date().toISOString(),
    request_id: `req_${randomUUID().replaceAll('-', '')}`,
    organization_id: first.organizationId,
    project_id: `proj_${first.organizationId}${key % shape.projects}`,
    api_key_id: `key_${first.organizationId}${key}`,
    user_id: null,
    endpoint: 'chat.completions',
    model: `model-${key % shape.models}`,
    provider: 'fake',
    upstream_model: 'model',
    outcome: 'complete',
    estimated: false,
    input_tokens: 900,
    cached_input_tokens: 0,
    output_tokens: 200,
    reasoning_tokens: 0,
    cache_write_tokens: null,
    cache_write_1h_tokens: null,
    audio_input_tokens: null,
    cached_audio_input_tokens: null,
    image_input_tokens: null,
    cached_image_input_tokens: null,
    audio_output_tokens: null,
    image_output_tokens: null,
    tool_calls: null,
    service_tier: null,
    price_id: null,
    lease_id: lease,
    limit_lease_ids: null,
    charged_nano_usd: '1000',
    overrun_nano_usd: '0',
    duration_ms: 700,
    first_byte_ms: 120,
    client_address: '10.0.0.1',
  }
}

function speedTable({
  events,
  made,
  rolledUp,
  ingest,
}: {
  events: number
  made: number
  rolledUp: number
  ingest: Ingest
}): Table {
  return {
    title: 'Events a second',
    columns: ['what', 'a second', 'seconds'],
    rows: [
      [
        'settled from a journal, while rolling up',
        thousands(ingest.perSecond),
        (ingest.events / ingest.perSecond).toFixed(0),
      ],
      ['rolled up by one node', thousands(events / rolledUp), rolledUp.toFixed(0)],
      ['made for this bench', thousands(events / made), made.toFixed(0)],
    ],
  }
}

async function roomOf(database: Database, events: number): Promise<{ table: Table; note: string }> {
  const sizes = await database.query<{ name: string; table: bigint; indexes: bigint }>(
    sql(`select coalesce(p.inhparent::regclass::text, c.oid::regclass::text) as name, sum(pg_table_size(c.oid))::bigint as table,
           sum(pg_indexes_size(c.oid))::bigint as indexes
         from pg_class c left join pg_inherits p on p.inhrelid = c.oid
         where c.relkind = 'r' and (p.inhparent = 'usage_events'::regclass
           or c.relname in ('usage_groups', 'usage_days', 'usage_hours', 'usage_minutes')) group by 1 order by 1`),
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
