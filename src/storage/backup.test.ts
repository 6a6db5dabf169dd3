// Backups of a real PostgreSQL, restored into another database of it.
import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type TestDatabase, testDatabase } from '../../test/support/postgres.ts'
import { newestAuthEvent, recordAuthEvent } from './auth-events.ts'
import { type BackupOptions, writeBackup } from './backup.ts'
import { BackupRefused } from './backup-format.ts'
import { backupTables, tablesLeftOut } from './backup-tables.ts'
import { type Database, only, openDatabase, sql } from './database.ts'
import { migrate } from './migrate.ts'
import { type RestoreOptions, restoreBackup } from './restore.ts'
import { loadSecrets, type Secrets } from './secrets.ts'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

let home: string
let server: TestDatabase
let from: Database
let into: Database
let secrets: Secrets

const open = (name: string): Database =>
  openDatabase(
    {
      connection: { ...server.connection, database: name },
      connectionsMax: 4,
      connectTimeoutMs: 5000,
      statementTimeoutMs: 30_000,
    },
    () => undefined,
  )

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'keyhouse-test-'))
  server = await testDatabase()
  secrets = await loadSecrets('', { pepper: 'a1'.repeat(32), sealingKey: 'b2'.repeat(32) })
})
afterAll(async () => {
  await from?.close()
  await into?.close()
  await server?.stop()
  rmSync(home, { recursive: true, force: true })
})
beforeEach(async () => {
  await from?.close()
  await into?.close()
  from = await fresh('from_here')
  into = await fresh('into_this')
})

async function fresh(name: string): Promise<Database> {
  await server.database.query(sql(`drop database if exists ${name} with (force)`))
  await server.database.query(sql(`create database ${name}`))
  const database = open(name)
  await migrate(database)
  return database
}

const run = (database: Database, text: string, values: unknown[] = []) => database.query(sql(text), values)

/** Collects what is written to it. */
function collector(): Writable & { bytes(): Buffer } {
  const chunks: Buffer[] = []
  const sink = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(chunk)
      done()
    },
  })
  return Object.assign(sink, { bytes: () => Buffer.concat(chunks) })
}

async function backup(database: Database, more: Partial<BackupOptions> = {}): Promise<Buffer> {
  const sink = collector()
  await writeBackup({ database, secrets, now: new Date('2026-11-20T10:00:00Z'), version: '0.1.0', ...more }, sink)
  return sink.bytes()
}

const restore = (bytes: Buffer, more: Partial<RestoreOptions> = {}) =>
  restoreBackup({ database: into, spoolDirectory: home, ...more }, Readable.from([bytes], { objectMode: false }))

/** Every row of every table as PostgreSQL's own text of it: another road than the backup takes. */
async function contents(database: Database): Promise<Record<string, string[]>> {
  const tables: Record<string, string[]> = {}
  for (const table of backupTables) {
    // Which transaction brought an event is true in its own cluster alone
    const text = table === 'usage_events' ? `(to_jsonb(t) - 'settled_in')::text` : 't::text'
    const rows = await run(database, `select ${text} as row from ${table} t order by 1`)
    tables[table] = rows.map(({ row }) => row)
  }
  return tables
}

const odd = `quote ' double " back \\ slash \\n %s $1 {"a":[1]} ; -- \u2028\u2029 \r\n\t \u0001 é 漢字 🗝️ \u202e end`
const bigintMax = 9223372036854775807n

/** An organization with credit, enough for the money tests. */
async function organization(database: Database, id: string, credit: bigint): Promise<void> {
  await run(database, 'insert into organizations (id, name) values ($1, $1)', [id])
  await run(
    database,
    `insert into ledger_accounts (id, organization_id, kind) values ($1 || '/credit', $1, 'credit'), ($1 || '/leased', $1, 'leased')`,
    [id],
  )
  await run(
    database,
    `select post_ledger('grant', 'grant ' || $1, array['platform/funding', $1 || '/credit'], array[-$2::bigint, $2::bigint])`,
    [id, credit],
  )
  await run(
    database,
    `insert into credit_grants (id, organization_id, kind, amount_nano_usd, remaining_nano_usd, priority, reference)
     values ('cg_' || $1, $1, 'purchased', $2, $2, 30, 'grant ' || $1)`,
    [id, credit],
  )
}

const lease = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`
const grow = (database: Database, n: number, org: string, amount: bigint) =>
  run(database, 'select * from grow_lease($1, $2, $3, null, null, null, $4, $4, $4)', [
    lease(n),
    org,
    `node-${n}`,
    amount,
  ])

/** Of a project's spend limit, this month's. */
const monthStart = '2026-11-01T00:00:00Z'
const growLimit = (database: Database, n: number, org: string, project: string, amount: bigint) =>
  run(database, `select * from grow_lease($1, $2, $3, $4, 'month', '${monthStart}', $5, $5, $5)`, [
    lease(n),
    org,
    `node-${n}`,
    project,
    amount,
  ])

let events = 0
/** One call in the journal's form, charged to a lease. */
function usage(n: number, org: string, charged: bigint, more: object = {}): object {
  events += 1
  return {
    id: `00000000-0000-7000-8000-${String(events).padStart(12, '0')}`,
    occurred_at: '2026-11-20T09:00:00.123456Z',
    request_id: 'req',
    organization_id: org,
    project_id: 'proj',
    api_key_id: 'key',
    user_id: null,
    endpoint: 'chat_completions',
    model: 'm',
    provider: 'p',
    upstream_model: 'u',
    outcome: 'complete',
    estimated: false,
    input_tokens: 1,
    cached_input_tokens: 0,
    output_tokens: 2,
    reasoning_tokens: 0,
    price_id: null,
    lease_id: lease(n),
    charged_nano_usd: charged.toString(),
    overrun_nano_usd: '0',
    duration_ms: 5,
    first_byte_ms: null,
    ...more,
  }
}
const settle = (database: Database, ...records: object[]) =>
  run(database, 'select settle_usage($1::json)', [JSON.stringify(records)])

const balance = async (database: Database, account: string): Promise<bigint> =>
  only(
    await database.query<{ b: bigint }>(sql('select balance_nano_usd as b from ledger_accounts where id = $1'), [
      account,
    ]),
  ).b

/** People, roles, and what restricts projects; after the organization, its project, user and keys. */
async function fillPeople(database: Database): Promise<void> {
  const statements = [
    `insert into project_users values ('proj-1', 'user-1', 'none')`,
    `insert into groups values ('group-1', 'org-odd', $1)`,
    `insert into group_users values ('group-1', 'user-1')`,
    `insert into project_groups values ('proj-1', 'group-1', 'viewer')`,
    `insert into invites (id, organization_id, email, role, projects, token_hash, expires_at)
       values ('invite-1', 'org-odd', $1, 'owner', jsonb_build_array(9223372036854775807, 1e-400, null, $1::text), '\\x00', '-infinity')`,
    `insert into roles (id, organization_id, name, permissions, created_by) values ('role-1', 'org-odd', $1, '{}', 'user-1')`,
    `insert into role_assignments values ('role-1', 'org-odd', null, 'user', $1)`,
    `insert into service_accounts values ('account-1', 'org-odd', 'proj-1', $1, 'none')`,
    `insert into leak_reports values ('leak-1', 'key-1', 'github', $1, false)`,
    `insert into key_policies (scope_id, allowed_cidrs, allowed_origins) values ('org-odd', '{10.0.0.0/8,2001:db8::/32}', array[$1])`,
    `insert into model_permissions values ('proj-1', 'deny_list', array[$1])`,
    `insert into hosted_tool_permissions values ('proj-1', jsonb_build_object($1::text, '{"a": [1.10, {}]}'::jsonb))`,
    `insert into data_retention values ('org-odd', $1)`,
    `insert into spend_limits values ('org-odd', 9223372036854775807)`,
    `insert into spend_alerts values ('alert-1', 'org-odd', 0, array[null, $1])`,
    `insert into certificates values ('cert-1', 'org-odd', null, $1, 'ff', '2026-01-01', '9999-12-31 23:59:59.999999+00')`,
    `insert into certificate_activations values ('cert-1', 'org-odd')`,
    `select append_audit_log('org-odd', 'audit-1', 'api_key.created', now(), null, null, 'system', null, null, null, null, $1)`,
  ]
  for (const statement of statements) await run(database, statement, statement.includes('$1') ? [odd] : [])
}

async function fillEveryTable(database: Database): Promise<void> {
  // odd, and more than a JavaScript number can hold
  await organization(database, 'org-odd', 9_007_199_254_740_993n)
  await run(database, 'update organizations set name = $1, is_operator = true, created_at = $2', [
    odd,
    '0044-03-15 00:00:00.000001+00',
  ])
  await run(database, `insert into users values ('user-1', 'org-odd', $1, null, 'owner', 'infinity')`, [odd])
  await run(database, `insert into projects values ('proj-1', 'org-odd', '', '2026-11-20 09:59:59.999999+00', null)`)
  await run(
    database,
    `insert into api_keys (id, kind, organization_id, project_id, owner_user_id, name, secret_hash, pepper_id, redacted, scopes) values
       ('key-1', 'project', 'org-odd', 'proj-1', 'user-1', $1, '\\x00ff5c2722', 'p', 'sk…', '{}'),
       ('key-2', 'admin', 'org-odd', null, null, 'null', '\\x', 'p', '', $2)`,
    [odd, ['', 'NULL', 'null', odd, '{a,b}']],
  )
  await fillPeople(database)
  await run(database, `insert into rate_limits (scope_id, model, tokens_per_minute) values ('proj-1', '*', $1)`, [
    bigintMax,
  ])
  await run(database, `insert into providers values ('prov-1', $1, 'fake', null, '\\xdeadbeef', null)`, [odd])
  await run(database, `insert into models values ($1, 'chat', 'us', 2147483647, null)`, [odd])
  await run(database, `insert into model_routes values ($1, -1, 'prov-1', 'x')`, [odd])
  await run(database, `insert into model_aliases values ('davinci', $1)`, [odd])
  await run(
    database,
    `insert into prices (model, input_nano_usd_per_million, cached_input_nano_usd_per_million, output_nano_usd_per_million, source)
       values ('m', $1, 9007199254740993, 0, 'x'), ('n', 0, 0, 0, $2)`,
    [bigintMax, odd],
  )
  await grow(database, 1, 'org-odd', 1_000n)
  await settle(
    database,
    usage(1, 'org-odd', 300n, { occurred_at: '2026-11-20T23:59:59.999999Z', user_id: odd }),
    usage(1, 'org-odd', 0n, {
      occurred_at: '2024-02-29T00:00:00.000001Z',
      overrun_nano_usd: '9007199254740993',
      price_id: bigintMax.toString(),
    }),
  )
  await run(database, 'select return_lease($1, 700, true)', [lease(1)])
  await run(database, `insert into payload_capture values ('proj-1', true, 90, 2147483647)`)
  await run(database, `insert into key_budgets (key_id, limit_nano_usd, period) values ('key-1', $1, 'total')`, [
    bigintMax,
  ])
  await run(database, `insert into spend_alert_firings values ('alert-1', '2026-11-01', 1, 2)`)
  await run(database, `insert into rotation_reminders values ('key-1', '2026-11-20', 7)`)
  await run(database, `insert into ledger_checkpoints values ('org-odd/credit', -1, 'infinity')`)
  expect(await run(database, 'select roll_up_usage(1000) as events')).toEqual([{ events: 2n }])
}

test('every table is in the backup or left out for a reason', async () => {
  const rows = await run(
    from,
    `select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition`,
  )
  const inSchema = rows.map(({ relname }) => relname)
  expect(inSchema.sort()).toEqual([...backupTables, ...Object.keys(tablesLeftOut)].sort())
})

test.each([undefined, 'correct horse é'])(
  'a restore gives back every value of every table (passphrase: %s)',
  async passphrase => {
    await fillEveryTable(from)
    const before = await contents(from)
    expect(Object.keys(before).filter(table => before[table]?.length === 0)).toEqual([])
    const option = passphrase === undefined ? {} : { passphrase }

    const restored = await restore(await backup(from, option), option)

    expect(await contents(into)).toEqual(before)
    expect(restored.secrets).toEqual(secrets)
    expect(restored).toMatchObject({ tables: backupTables.length, rows: Object.values(before).flat().length })
    const days = await run(
      into,
      `select to_regclass('usage_events_20240229') is not null and to_regclass('usage_events_20261120') is not null as made`,
    )
    expect(days).toEqual([{ made: true }])
  },
)

test('a restore replaces what was there, and the database guards itself afterwards as before', async () => {
  await fillEveryTable(from)
  await organization(into, 'org-gone', 5n)
  await restore(await backup(from))
  expect(await contents(into)).toEqual(await contents(from))

  await expect(run(into, 'delete from ledger_entries')).rejects.toThrow('append only')
  await expect(run(into, 'delete from audit_logs')).rejects.toThrow('append only')
  const checked = await run(into, `select entries, first_broken from check_audit_log('org-odd', 0, 10)`)
  expect(checked).toEqual([{ entries: 1n, first_broken: null }])
  await expect(run(into, `select post_ledger('grant', 'x', array['org-odd/credit'], array[1])`)).rejects.toThrow(
    'sum to zero',
  )
  await run(into, `select post_ledger('grant', 'y', array['org-odd/credit', 'platform/funding'], array[-1, 1])`)
  expect(await balance(into, 'org-odd/credit')).toBe((await balance(from, 'org-odd/credit')) - 1n)
})

test('numbers that the database gives out go on where the higher of the two had come', async () => {
  const price = `insert into prices (model, input_nano_usd_per_million, cached_input_nano_usd_per_million, output_nano_usd_per_million, source)
    values ('m', 0, 0, 0, 'x') returning id`
  const addPrice = async (database: Database): Promise<bigint> =>
    only(await database.query<{ id: bigint }>(sql(price))).id
  for (let n = 0; n < 5; n += 1) await addPrice(from)
  await restore(await backup(from))
  const next = await addPrice(into)
  expect(next).toBeGreaterThan(5n)
  await restore(await backup(from))
  expect(await addPrice(into)).toBeGreaterThan(next)
})

test('a key comes back although the key that it replaces is restored after it', async () => {
  await organization(from, 'org-1', 1n)
  await run(
    from,
    `insert into api_keys (id, kind, organization_id, name, secret_hash, pepper_id, redacted, rotated_from)
       select 'key-' || n, 'admin', 'org-1', '', decode(md5(n::text), 'hex'), '', '', case when n < 2000 then 'key-' || n + 1 end
       from generate_series(1, 2000) n`,
  )
  await restore(await backup(from))
  expect((await contents(into)).api_keys).toEqual((await contents(from)).api_keys)
  await expect(run(into, `update api_keys set rotated_from = 'key-0' where id = 'key-1'`)).rejects.toThrow(
    'foreign key',
  )
  expect(await run(into, 'select from pg_constraint where condeferrable')).toEqual([])
})

test('after a restore every node is told to forget everything, with an event that none has seen', async () => {
  for (let n = 0; n < 3; n += 1) await recordAuthEvent(into, 'everything', '')
  const seen = await newestAuthEvent(into)
  await restore(await backup(from))
  const [event] = await run(into, 'select id, subject_kind from auth_events order by id desc limit 1')
  expect(event?.id).toBeGreaterThan(seen)
  expect(event?.subject_kind).toBe('everything')
  expect(await run(into, 'select count(*) from auth_events')).toEqual([{ count: 4n }])
})

test('with a passphrase no secret stands in the file, and nobody can change the file without it', async () => {
  await fillEveryTable(from)
  const bytes = await backup(from, { passphrase: 'open sesame' })
  const text = gunzipSync(bytes).toString('latin1')
  for (const secret of [secrets.pepper, secrets.sealingKey]) {
    expect(text).not.toContain(secret.toString('hex'))
    expect(text).not.toContain(secret.toString('base64'))
  }
  expect(gunzipSync(await backup(from)).toString()).toContain(secrets.pepper.toString('hex'))

  const before = await contents(into)
  const forged = withDigest(gunzipSync(bytes).toString().replace('"owner"', '"reader"'))
  await expect(restore(forged, { passphrase: 'open sesame' })).rejects.toThrow('cut off or damaged')
  expect(await contents(into)).toEqual(before)
})

test('a passphrase that is wrong, missing, or not asked for is refused, and nothing changes', async () => {
  await fillEveryTable(into)
  const before = await contents(into)
  const sealed = await backup(from, { passphrase: 'right' })
  await expect(restore(sealed, { passphrase: 'wrong' })).rejects.toThrow('The passphrase is not the one')
  await expect(restore(sealed)).rejects.toThrow('was written with a passphrase: give it.')
  await expect(restore(await backup(from), { passphrase: 'x' })).rejects.toThrow('without a passphrase: give none.')
  await expect(backup(from, { passphrase: '' })).rejects.toThrow('The passphrase is empty')
  expect(await contents(into)).toEqual(before)
})

test('a file that is cut anywhere is refused, and nothing changes', async () => {
  await fillEveryTable(from)
  const bytes = await backup(from)
  const before = await contents(into)
  const cuts = [0, 1, 9, 10, 200, bytes.length >> 1, bytes.length - 9, bytes.length - 8, bytes.length - 1]
  for (const cut of cuts)
    await expect(restore(bytes.subarray(0, cut)), `cut at ${cut}`).rejects.toThrow('cut off or damaged')
  const lines = gunzipSync(bytes).toString().split('\n').slice(0, -1)
  for (let kept = 1; kept < lines.length; kept += 1) {
    const shorter = gzipSync(`${lines.slice(0, kept).join('\n')}\n`)
    await expect(restore(shorter), `${kept} lines`).rejects.toThrow('cut off or damaged')
  }
  await expect(restore(gzipSync(`${lines.join('\n')}\nmore\n`))).rejects.toThrow('cut off or damaged')
  expect(await contents(into)).toEqual(before)
})

test('a flipped byte is refused and nothing changes, or it was in a place that says nothing', async () => {
  await fillEveryTable(from)
  const bytes = await backup(from)
  const before = await contents(into)
  // bytes 3 to 9 of gzip are flags, time and system: some of them may change without changing what is inside
  const step = Math.floor(bytes.length / 60)
  for (let at = 10; at < bytes.length; at += step) {
    const flipped = Buffer.from(bytes)
    flipped[at] = (flipped[at] ?? 0) ^ 0x10
    await expect(restore(flipped), `byte ${at}`).rejects.toThrow(BackupRefused)
  }
  const text = gunzipSync(bytes)
  for (let at = 20; at < text.length; at += Math.floor(text.length / 60)) {
    const flipped = Buffer.from(text)
    flipped[at] = (flipped[at] ?? 0) ^ 0x01
    await expect(restore(gzipSync(flipped)), `byte ${at} of the text`).rejects.toThrow(BackupRefused)
  }
  expect(await contents(into)).toEqual(before)
})

/** The backup's text, zipped, with the digest that fits it. */
function withDigest(text: string): Buffer {
  const end = text.lastIndexOf('\nend ') + 1
  const trailer = JSON.parse(text.slice(end + 4))
  const digest = createHash('sha256').update(text.slice(0, end)).digest('hex')
  return gzipSync(`${text.slice(0, end)}end ${JSON.stringify({ ...trailer, digest })}\n`)
}

test.each([
  ['a newer schema', [/"schema":\d+/, '"schema":999'], 'written by a newer Keyhouse (0.1.0, schema 999'],
  ['an older schema', [/"schema":\d+/, '"schema":0'], 'written by an older Keyhouse (0.1.0, schema 0'],
  ['a format to come', ['"format":1', '"format":2'], 'has format 2 and this Keyhouse reads format 1'],
  ['another kind of file', ['keyhouse-backup', 'PGDMP'], 'This is not a Keyhouse backup.'],
  ['an entry of another amount', [/"amount_nano_usd":-\d+/, '"amount_nano_usd":-1'], 'does not add up'],
  ['a balance of another amount', [/("org-odd\/credit".*"balance_nano_usd":)\d+/, '$177'], 'does not add up'],
  [
    'a key of a project that is not there',
    [/"project_id":"proj-1"/, '"project_id":"proj-2"'],
    'nothing was changed: insert or update',
  ],
  ['a role that does not exist', [/"role":"owner"/, '"role":"king"'], 'nothing was changed: new row'],
  ['a table that does not exist', ['\ntable users', '\ntable pg_authid'], 'cut off or damaged'],
] as const)('a whole backup with %s is refused, and nothing changes', async (_, [pattern, replacement], reason) => {
  await fillEveryTable(from)
  const text = gunzipSync(await backup(from)).toString()
  await restore(withDigest(text))
  await organization(into, 'org-here', 5n)
  const before = await contents(into)
  await expect(restore(withDigest(text.replace(pattern, replacement)))).rejects.toThrow(reason)
  expect(await contents(into)).toEqual(before)
})

/** What must hold at every moment: transactions sum to zero, balances are sums, and what is leased is what leases hold. */
async function expectSound(database: Database): Promise<void> {
  const wrong = await run(
    database,
    `select 'transaction' as what, transaction_id::text as id from ledger_entries group by 2 having sum(amount_nano_usd) <> 0
     union all
     select 'balance', a.id from ledger_accounts a where balance_nano_usd <>
       (select coalesce(sum(amount_nano_usd), 0) from ledger_entries where account_id = a.id)
     union all
     select 'lease', a.id from ledger_accounts a where kind = 'leased' and balance_nano_usd <>
       (select coalesce(sum(granted_nano_usd - settled_nano_usd - returned_nano_usd), 0) from leases
        where organization_id = a.organization_id)`,
  )
  expect(wrong).toEqual([])
}

test('leases that were open in the backup are closed, and their remainder is credit again', async () => {
  await organization(from, 'org-1', 1000n)
  await grow(from, 1, 'org-1', 400n)
  await grow(from, 2, 'org-1', 100n)
  await settle(from, usage(1, 'org-1', 150n))
  await restore(await backup(from))
  expect(await balance(into, 'org-1/credit')).toBe(850n)
  expect(await balance(into, 'org-1/leased')).toBe(0n)
  expect(await run(into, 'select from leases where closed_at is null')).toEqual([])
  await expectSound(into)
})

test('leases of nodes that run now live on through a restore, and what waits in journals is charged to them', async () => {
  await organization(into, 'org-1', 1000n)
  await grow(into, 1, 'org-1', 400n)
  await settle(into, usage(1, 'org-1', 50n))
  const bytes = await backup(into)
  await settle(into, usage(1, 'org-1', 100n))
  await grow(into, 2, 'org-1', 200n)
  await grow(into, 1, 'org-1', 100n)
  const waiting = [usage(1, 'org-1', 350n), usage(2, 'org-1', 200n)]

  await restore(bytes)
  await expectSound(into)
  // 1000 less the 50 of the backup, less what the two leases still hold: 350 and 200
  expect(await balance(into, 'org-1/credit')).toBe(400n)
  await settle(into, ...waiting)
  expect(await balance(into, 'org-1/leased')).toBe(0n)
  await grow(into, 1, 'org-1', 10n)
  await run(into, 'select return_lease($1, 10, true)', [lease(1)])
  await expectSound(into)
  expect(await balance(into, 'org-1/credit')).toBe(400n)
})

test('a running lease that the restored credit does not cover shrinks, and no balance goes under zero', async () => {
  await organization(from, 'org-1', 500n)
  await organization(into, 'org-1', 5000n)
  await organization(into, 'org-2', 5000n)
  for (const n of [1, 2, 3]) await grow(into, n, 'org-1', 300n)
  await grow(into, 4, 'org-2', 300n)
  await restore(await backup(from))
  await expectSound(into)
  const held = await run(into, 'select granted_nano_usd as held from leases where closed_at is null order by id')
  expect(held).toEqual([{ held: 300n }, { held: 200n }, { held: 0n }])
  expect(await balance(into, 'org-1/credit')).toBe(0n)
  await settle(into, usage(2, 'org-1', 201n))
  expect(await balance(into, 'platform/overrun')).toBe(-1n)
  await expectSound(into)
})

test('leases on spend limits: those of the backup are closed, those of nodes that run now live on', async () => {
  for (const database of [from, into]) {
    await organization(database, 'org-1', 5000n)
    await run(database, `insert into spend_limits (scope_id, threshold_cents) values ('proj-1', 100)`)
  }
  await growLimit(from, 1, 'org-1', 'proj-1', 300n)
  await growLimit(into, 2, 'org-1', 'proj-1', 200n)
  await restore(await backup(from))
  const windows = `select scope_id, spent_nano_usd as spent, leased_nano_usd as leased from spend_windows where scope_id = 'proj-1'`
  expect(await run(into, windows)).toEqual([{ scope_id: 'proj-1', spent: 0n, leased: 200n }])
  await run(into, 'select close_lease($1)', [lease(2)])
  expect(await run(into, windows)).toEqual([{ scope_id: 'proj-1', spent: 0n, leased: 0n }])
})

type Traffic = { calls(): number; stop(): Promise<void> }

/** Calls that go on until told to stop: leases grow, usage is settled, credit comes back. Deadlocks are tried again. */
function traffic(database: Database, org: string): Traffic {
  let stopped = false
  let calls = 0
  const call = async (n: number): Promise<void> => {
    await grow(database, n, org, 100n)
    await settle(database, usage(n, org, 40n), usage(n, org, 30n))
    await run(database, 'select return_lease($1, 30, false)', [lease(n)])
    calls += 2
  }
  const node = async (n: number): Promise<void> => {
    while (!stopped) {
      await call(n).catch(error => {
        if (error.code !== '40P01') throw error
      })
    }
  }
  const nodes = Promise.all([1, 2, 3].map(node))
  return {
    calls: () => calls,
    stop() {
      stopped = true
      return nodes.then(() => undefined)
    },
  }
}

/** Waits until some more calls have come to their end. */
async function moreCalls(going: Traffic): Promise<void> {
  const before = going.calls()
  await expect.poll(() => going.calls(), { timeout: 60_000, interval: 5 }).toBeGreaterThan(before + 5)
}

test('a backup written while calls go on is one moment of them', { timeout: 180_000 }, async () => {
  await organization(from, 'org-1', 1_000_000_000n)
  const going = traffic(from, 'org-1')
  for (let round = 0; round < 3; round += 1) {
    await moreCalls(going)
    await restore(await backup(from))
    await expectSound(into)
    const [moment] = await run(
      into,
      `select sum(charged_nano_usd) as used, count(*) as calls,
         (select balance_nano_usd::numeric from ledger_accounts where id = 'platform/revenue') as revenue,
         (select sum(settled_nano_usd) from leases) as settled
       from usage_events`,
    )
    expect(moment?.calls).toBeGreaterThan(0n)
    expect(moment).toMatchObject({ revenue: moment?.used, settled: moment?.used })
  }
  await going.stop()
})

test('a restore while calls go on waits for them, and money stays whole', { timeout: 180_000 }, async () => {
  await organization(into, 'org-1', 1_000_000_000n)
  const going = traffic(into, 'org-1')
  for (let round = 0; round < 3; round += 1) {
    await moreCalls(going)
    const bytes = await backup(into)
    await moreCalls(going)
    await restore(bytes)
  }
  await moreCalls(going)
  await going.stop()
  await expectSound(into)
})

test('a backup is refused by its first line, and whoever sends it can still be answered', async () => {
  const text = gunzipSync(await backup(from)).toString()
  const source = new PassThrough()
  source.write(withDigest(text.replace(/"schema":\d+/, '"schema":999')))
  await expect(restoreBackup({ database: into, spoolDirectory: home }, source)).rejects.toThrow('newer Keyhouse')
  expect(source.destroyed).toBe(false)
})

test('a backup that nobody takes is given up, and so is a restore that nothing comes for', async () => {
  await fillEveryTable(from)
  await run(
    from,
    `insert into projects select 'p' || n, 'org-odd', md5(n::text) || md5((n + 1)::text), now(), null from generate_series(1, 20000) n`,
  )
  const stuck = new Writable({ highWaterMark: 1, write: () => undefined })
  const options = { database: from, secrets, now: new Date(), version: '0.1.0', stallTimeoutMs: 100 }
  await expect(writeBackup(options, stuck)).rejects.toThrow('nobody took any of it for 0.1 seconds')
  expect(stuck.destroyed).toBe(true)

  const before = await contents(into)
  const source = new PassThrough()
  source.write((await backup(from)).subarray(0, 500))
  await expect(restoreBackup({ database: into, stallTimeoutMs: 100 }, source)).rejects.toThrow(
    'nothing came for 0.1 seconds',
  )
  expect(source.destroyed).toBe(false)
  expect(await contents(into)).toEqual(before)
  expect(await openTransactions()).toBe(0n)
})

test('a backup that is taken slowly comes whole', async () => {
  await organization(from, 'org-odd', 1n)
  await run(
    from,
    `insert into projects select 'p' || n, 'org-odd', md5(n::text), now(), null from generate_series(1, 20000) n`,
  )
  const chunks: Buffer[] = []
  const slow = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(chunk)
      setTimeout(done, 50)
    },
  })
  const begun = performance.now()
  await writeBackup({ database: from, secrets, now: new Date(), version: '0.1.0', stallTimeoutMs: 500 }, slow)
  expect(performance.now() - begun).toBeGreaterThan(500)
  await restore(Buffer.concat(chunks))
  expect(await run(into, 'select count(*) from projects')).toEqual([{ count: 20_000n }])
})

test('a client that leaves during a backup leaves no open transaction behind', async () => {
  await organization(from, 'org-odd', 1n)
  await run(
    from,
    `insert into projects select 'p' || n, 'org-odd', md5(n::text), now(), null from generate_series(1, 20000) n`,
  )
  const leaves = new Writable({
    write(_chunk, _encoding, done) {
      done()
      setImmediate(() => this.destroy())
    },
  })
  await expect(writeBackup({ database: from, secrets, now: new Date(), version: '0.1.0' }, leaves)).rejects.toThrow()
  expect(await openTransactions()).toBe(0n)
})

async function openTransactions(): Promise<bigint> {
  await sleep(100)
  const query = sql(
    `select count(*) as open from pg_stat_activity where xact_start is not null and pid <> pg_backend_pid() and datname in ('from_here', 'into_this')`,
  )
  return only(await server.database.query<{ open: bigint }>(query)).open
}

test('calls are asked to stop only for a backup that was checked whole', async () => {
  const bytes = await backup(from)
  const seen: string[] = []
  const beforeReplace = async ({ created_at }: { created_at: string }): Promise<void> => {
    seen.push(created_at)
  }
  await expect(restore(bytes.subarray(0, -1), { beforeReplace })).rejects.toThrow('cut off or damaged')
  expect(seen).toEqual([])
  await restore(bytes, { beforeReplace })
  expect(seen).toEqual(['2026-11-20T10:00:00.000Z'])
})

test('secrets are adopted before the commit, and a refusal to do so changes nothing', async () => {
  await fillEveryTable(from)
  const before = await contents(into)
  const bytes = await backup(from)
  const refuse = async (): Promise<void> => {
    throw new BackupRefused('The secrets come from the environment, and they are others.')
  }
  await expect(restore(bytes, { adoptSecrets: refuse })).rejects.toThrow('they are others.')
  expect(await contents(into)).toEqual(before)

  const adopted: Secrets[] = []
  await restore(bytes, { adoptSecrets: async given => void adopted.push(given) })
  expect(adopted).toEqual([secrets])
  expect(readdirSync(home).filter(name => name.startsWith('keyhouse-restore'))).toEqual([])
})

test('200,000 calls go out and come back within bounded memory', { timeout: 180_000 }, async () => {
  const rows = 200_000
  await run(
    from,
    `insert into usage_events
       select gen_random_uuid(), timestamptz '2026-11-01 00:00Z' + n * interval '10 seconds', 'req_' || md5(n::text), 'org-1', 'proj_1', 'key_1',
         'user_1', 'chat_completions', 'tinyllama-1.1b-chat', 'local', 'tinyllama', 'complete', false, n, 0, 50, 0, null, null, 0, 0, 100, 10
       from generate_series(1, ${rows}) n`,
  )
  const file = join(home, 'large.gz')
  const grewMb: Record<string, number> = {}
  await watched('backup', async () => {
    await writeBackup({ database: from, secrets, now: new Date(), version: '0.1.0' }, createWriteStream(file))
  })
  await watched('restore', async () => {
    await restoreBackup({ database: into, spoolDirectory: home }, createReadStream(file))
  })
  console.log(`${rows} usage rows, ${statSync(file).size} bytes; memory in use grew by (MB)`, grewMb)
  expect(await run(into, 'select count(*), count(distinct tableoid) as days from usage_events')).toEqual([
    { count: BigInt(rows), days: 24n },
  ])
  // Of rows kept in memory, as text, there would be some 90
  expect(Math.max(...Object.values(grewMb))).toBeLessThan(50)

  async function watched(name: string, work: () => Promise<void>): Promise<void> {
    const before = bytesInUse()
    let most = before
    const timer = setInterval(() => {
      most = Math.max(most, bytesInUse())
    }, 200)
    await work().finally(() => clearInterval(timer))
    grewMb[name] = Math.round((most - before) / 2 ** 20)
  }
})

/** What cannot be collected: how much the process holds besides depends on when the collector came by. */
function bytesInUse(): number {
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
