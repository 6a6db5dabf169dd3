/** What holding and settling money adds to a call, and whether one organization's calls queue at the database. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ApiKeyId, newId, type OrganizationId, type ProjectId } from '#contract/ids.ts'
import { nanoUsd } from '#core/money.ts'
import { accountsOf, type SpendAccount, type SpendLimits } from '#core/spending.ts'
import { type Hold, Wallets } from '#gateway/wallets.ts'
import { openDataDirectory } from '#storage/data-directory.ts'
import { type Database, openDatabase, sql } from '#storage/database.ts'
import { startEmbeddedPostgres } from '#storage/embedded-postgres.ts'
import { Journal } from '#storage/journal.ts'
import { migrate } from '#storage/migrate.ts'
import { ensureUsagePartitions, settleUsageRecords, type UsageRecord } from '#storage/usage.ts'
import { uuidv7 } from '#storage/uuid.ts'
import { newDataDir, removeDataDir } from '../test/support/keyhouse.ts'
import { noTrouble } from '../test/support/trouble.ts'
import type { Bench, BenchContext, Findings } from './support/bench.ts'
import { percentile, showSpread, spreadOf } from './support/statistics.ts'

export const money: Bench = {
  name: 'money',
  question: 'What do holding and settling add to a call, and does a hot organization queue at the database?',
  run,
}

const admissionUsMax = 10
const hotCallsPerSecond = 5_000
/** Records in the journal that the database has not got yet: a queue grows beyond what two deliveries carry. */
const waitingMax = hotCallsPerSecond
const heldNanoUsd = nanoUsd(2_000_000n)
const chargedNanoUsd = nanoUsd(1_500_000n)
const grantNanoUsd = 10n ** 15n
const statementTimeoutMs = 20_000
/** So long that nothing is handed back while it is measured. */
const idleMs = 600_000
const leaseNanoUsdMax = nanoUsd(10n ** 12n)
const batchCalls = 2_000
const tickMs = 10

type Place = { readonly organization: OrganizationId; readonly project: ProjectId; readonly key: ApiKeyId }

const noLimits: SpendLimits = { organization: false, project: false, key: null }
const everyLimit: SpendLimits = { organization: true, project: true, key: 'day' }
const holding: readonly { what: string; limits: SpendLimits }[] = [
  { what: 'credit alone', limits: noLimits },
  { what: 'credit and a project limit', limits: { ...noLimits, project: true } },
  { what: "credit, the organization's and the project's limit, a key's budget", limits: everyLimit },
]

async function run({ quick, progress }: BenchContext): Promise<Findings> {
  await using parts = new AsyncDisposableStack()
  const dataDir = parts.adopt(await newDataDir(), removeDataDir)
  const database = await openBooks(parts, dataDir)
  const place = await fillBooks(database)
  progress('holding and settling')
  const rows: string[][] = []
  let worstUs = 0
  for (const { what, limits } of holding) {
    const { spread, trips } = await measureHolding(database, place, limits, quick ? 1 : 9)
    worstUs = Math.max(worstUs, spread.median)
    rows.push([what, showSpread(spread, 2), trips.toFixed(5)])
  }
  progress(`${hotCallsPerSecond} calls a second of one organization`)
  const hot = await measureHot(database, place, { folder: join(dataDir, 'bench-journal'), seconds: quick ? 1 : 20 })
  return {
    tables: [
      {
        title: 'Holding and settling, the lease in hand',
        columns: ['against', 'µs a call', 'trips to the database a call'],
        rows,
      },
      {
        title: 'One organization, every call held, written to the journal and settled',
        columns: ['calls/s offered', 'calls/s done', 'waiting in the journal p50', 'p99', 'most', 'p99 of a call, ms'],
        rows: [
          [
            String(hotCallsPerSecond),
            hot.callsPerSecond.toFixed(0),
            ...[50, 99, 100].map(percent => percentile(hot.waiting, percent).toFixed(0)),
            percentile(hot.callMs, 99).toFixed(1),
          ],
        ],
      },
    ],
    aims: [
      { what: 'holding and settling with a warm lease', atMost: admissionUsMax, measured: worstUs, unit: 'µs' },
      {
        what: 'records waiting for the database at 5,000 calls a second',
        atMost: waitingMax,
        measured: percentile(hot.waiting, 99),
        unit: '',
      },
      { what: 'offered ÷ done', atMost: 1.02, measured: hotCallsPerSecond / hot.callsPerSecond, unit: '×' },
    ],
    notes: [
      `In one process, without HTTP, so that only money is measured; the database is the embedded one on the same machine. A call is held for ${heldNanoUsd} nano-dollars and charged ${chargedNanoUsd}.`,
    ],
  }
}

async function openBooks(parts: AsyncDisposableStack, dataDir: string): Promise<Database> {
  const directory = parts.adopt(await openDataDirectory(dataDir), opened => opened.release())
  const embedded = { directory: directory.paths.postgres, socketDirectory: directory.paths.run, log: () => undefined }
  const { connection } = parts.adopt(await startEmbeddedPostgres(embedded), running => running.stop())
  const settings = { connection, connectionsMax: 12, connectTimeoutMs: statementTimeoutMs, statementTimeoutMs }
  const database = parts.adopt(openDatabase(settings, console.error), opened => opened.close())
  await migrate(database)
  await ensureUsagePartitions(database, new Date())
  return database
}

async function fillBooks(database: Database): Promise<Place> {
  const place = { organization: newId('organization'), project: newId('project'), key: newId('api_key') }
  const { organization, project, key } = place
  await database.query(sql(`insert into organizations (id, name) values ($1, 'bench')`), [organization])
  await database.query(sql(`insert into projects (id, organization_id, name) values ($2, $1, 'bench')`), [
    organization,
    project,
  ])
  await database.query(
    sql(`insert into api_keys (id, kind, organization_id, project_id, name, secret_hash, pepper_id, redacted)
         values ($3, 'project', $1, $2, 'bench', sha256('bench'), 'bench', 'bench')`),
    [organization, project, key],
  )
  await database.query(
    sql(`insert into ledger_accounts (id, organization_id, kind)
         values ($1 || '/credit', $1, 'credit'), ($1 || '/leased', $1, 'leased')`),
    [organization],
  )
  await database.query(
    sql(`insert into credit_grants (id, organization_id, kind, amount_nano_usd, remaining_nano_usd, priority, reference)
         values ('cg_bench', $1, 'purchased', $2, $2, 30, 'bench')`),
    [organization, grantNanoUsd],
  )
  await database.query(
    sql(
      `select post_ledger('grant', 'bench', array['platform/funding', $1 || '/credit'], array[-$2::bigint, $2::bigint])`,
    ),
    [organization, grantNanoUsd],
  )
  await database.query(sql('insert into spend_limits values ($1, 1000000000), ($2, 1000000000)'), [
    organization,
    project,
  ])
  await database.query(sql(`select set_key_budget($1, $2, 'day')`), [key, grantNanoUsd])
  return place
}

function openWallets(database: Database, node: string): { wallets: Wallets; trips(): number } {
  let trips = 0
  const counted: Database = {
    ...database,
    query: (statement, values) => {
      trips += 1
      return database.query(statement, values)
    },
  }
  const parts = {
    database: counted,
    node,
    leaseNanoUsdMax,
    now: () => performance.now(),
    sleep,
    onError: console.error,
  }
  return { wallets: new Wallets(parts, idleMs), trips: () => trips }
}

const spenderOf = ({ organization, project, key }: Place, spendLimits: SpendLimits) => ({
  organizationId: organization,
  projectId: project,
  budgetKeyId: key,
  spendLimits,
})

const amounts = { most: heldNanoUsd, least: heldNanoUsd }

const reserve = (wallets: Wallets, accounts: readonly SpendAccount[]): Hold | Promise<Hold> =>
  wallets.reserve(accounts, amounts)

/** Calls as they come in earnest: some in flight at any time. */
async function measureHolding(database: Database, place: Place, limits: SpendLimits, rounds: number) {
  const { wallets, trips } = openWallets(database, `bench ${JSON.stringify(limits)}`)
  const spender = spenderOf(place, limits)
  const batch = async (): Promise<void> => {
    const open: Hold[] = []
    for (let call = 0; call < batchCalls; call += 1) {
      const reserved = reserve(wallets, accountsOf(spender, Date.now()))
      open.push(reserved instanceof Promise ? await reserved : reserved)
      if (open.length > 32) open.shift()?.settle(chargedNanoUsd)
    }
    for (const hold of open) hold.settle(chargedNanoUsd)
  }
  for (let warm = 0; warm < 20; warm += 1) await batch()
  const before = trips()
  const times: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    const startedAt = performance.now()
    await batch()
    times.push(((performance.now() - startedAt) * 1000) / batchCalls)
  }
  const tripsEach = (trips() - before) / (rounds * batchCalls)
  await wallets.close()
  return { spread: spreadOf(times), trips: tripsEach }
}

async function measureHot(database: Database, place: Place, { folder, seconds }: { folder: string; seconds: number }) {
  const journal = await Journal.open(
    { directory: folder, segmentBytesMax: 8 * 1024 * 1024, bytesMax: 2 ** 30 },
    records => settleUsageRecords(database, records, (record, cause) => Promise.reject(new Error(record, { cause }))),
    { unwritable: noTrouble, undelivered: noTrouble, onError: console.error },
  )
  const { wallets } = openWallets(database, 'bench hot')
  const accounts = accountsOf(spenderOf(place, everyLimit), Date.now())
  const waiting: number[] = []
  const callMs: number[] = []
  const open = new Set<Promise<void>>()
  const startedAt = performance.now()
  for (let done = 0; done < seconds * hotCallsPerSecond; await sleep(tickMs)) {
    const due = Math.floor(((performance.now() - startedAt) / 1000) * hotCallsPerSecond)
    for (; done < due; done += 1) {
      const one = call(wallets, journal, accounts, place, callMs).finally(() => open.delete(one))
      open.add(one)
    }
    waiting.push(journal.report().waiting)
  }
  await Promise.all(open)
  const callsPerSecond = callMs.length / ((performance.now() - startedAt) / 1000)
  await journal.flush(60_000)
  await wallets.close()
  await journal.close()
  return { callsPerSecond, waiting: waiting.toSorted((a, b) => a - b), callMs: callMs.toSorted((a, b) => a - b) }
}

async function call(
  wallets: Wallets,
  journal: Journal,
  accounts: readonly SpendAccount[],
  place: Place,
  callMs: number[],
): Promise<void> {
  const startedAt = performance.now()
  const hold = await reserve(wallets, accounts)
  await journal.append(recordOf(place, hold))
  hold.settle(chargedNanoUsd)
  callMs.push(performance.now() - startedAt)
}

function recordOf({ organization, project, key }: Place, hold: Hold): UsageRecord {
  const nowMs = Date.now()
  return {
    id: uuidv7(nowMs),
    occurred_at: new Date(nowMs).toISOString(),
    request_id: `req_${crypto.randomUUID().replaceAll('-', '')}`,
    organization_id: organization,
    project_id: project,
    api_key_id: key,
    user_id: null,
    endpoint: 'chat.completions',
    model: 'm',
    provider: 'bench',
    upstream_model: 'm',
    outcome: 'complete',
    estimated: false,
    input_tokens: 91,
    cached_input_tokens: 0,
    output_tokens: 17,
    reasoning_tokens: 0,
    price_id: null,
    lease_id: hold.creditLease,
    limit_lease_ids: hold.limitLeases,
    charged_nano_usd: chargedNanoUsd.toString(),
    overrun_nano_usd: '0',
    duration_ms: 100,
    first_byte_ms: null,
    client_address: '127.0.0.1',
  }
}
