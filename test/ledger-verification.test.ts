// The money is tampered with behind the server's back, one rule after another, and each time the verification says so, the log
// and the status show it, and it is gone once it is mended.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { LeaseId } from '#contract/ids.ts'
import { nanoUsd } from '#core/money.ts'
import { jobOf } from '#platform/jobs/jobs.ts'
import { growLease } from '#storage/leases.ts'
import { startNode, testJobs } from './support/jobs.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

let platform: TestPlatform
let organization: string
const lease = randomUUID() as LeaseId
const limitLease = randomUUID() as LeaseId

beforeAll(async () => {
  platform = await testPlatform()
  organization = platform.first.organizationId
  await spend()
})
afterAll(() => platform.stop())

const query = <Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> =>
  platform.database.query<Row>({ text }, values)

const startOfMonth = new Date(new Date().toISOString().slice(0, 7))

/** Credit, leases on it and on a spend limit, and a call that was settled with them. */
async function spend(): Promise<void> {
  const { organizationId, adminKey } = platform.first
  await platform.send(adminKey, 'POST', '/v1/organization/spend_limit', {
    threshold_amount: 1_000,
    currency: 'USD',
    interval: 'month',
  })
  const [{ key } = { key: '' }] = await query<{ key: string }>(`select id as key from api_keys where kind = 'project'`)
  await query('select set_key_budget($1, 5000000000, $2)', [key, 'day'])
  const amount = { need: nanoUsd(1_000n), want: nanoUsd(1_000n), least: nanoUsd(1_000n), node: 'node-a' }
  await growLease(platform.database, { ...amount, lease, account: { kind: 'credit', organization: organizationId } })
  await growLease(platform.database, {
    ...amount,
    lease: limitLease,
    account: {
      kind: 'organization',
      organization: organizationId,
      scope: organizationId,
      period: 'month',
      startsAtMs: startOfMonth.getTime(),
    },
  })
  await query(`insert into nodes (id, version) values ('node-a', '1')`)
  await settleCall(key, 400)
}

async function settleCall(key: string, charged: number): Promise<void> {
  const record = {
    id: randomUUID(),
    occurred_at: new Date(),
    request_id: 'req_1',
    organization_id: organization,
    project_id: platform.projectId,
    api_key_id: key,
    endpoint: '/v1/chat/completions',
    model: 'm',
    provider: 'p',
    upstream_model: 'm',
    outcome: 'complete',
    estimated: false,
    input_tokens: 1,
    cached_input_tokens: 0,
    output_tokens: 1,
    reasoning_tokens: 0,
    lease_id: lease,
    limit_lease_ids: [limitLease],
    charged_nano_usd: charged,
    overrun_nano_usd: 0,
    duration_ms: 1,
  }
  await query('select settle_usage($1)', [JSON.stringify([record])])
}

type Verification = {
  adds_up: boolean
  findings: { rule: string; subject: string; expected_usd: string | null; found_usd: string | null }[]
}

async function verify(full: boolean): Promise<Verification> {
  const { json } = await platform.send(platform.first.adminKey, 'POST', '/v1/platform/ledger/verification', { full })
  return json
}

/** As the owner of the database does it, around every trigger. */
async function tamper(text: string, values: unknown[] = []): Promise<void> {
  await platform.database.transaction(async tx => {
    await tx.query({ text: 'set local session_replication_role = replica' })
    await tx.query({ text }, values)
  })
}

beforeEach(async () => {
  expect(await verify(true)).toMatchObject({ adds_up: true, findings: [] })
})

test('untouched money adds up, in part and in full, again and again', async () => {
  for (const full of [false, true, false]) {
    // Whether it has been added up already or not
    if (full) await query('select roll_up_usage(1000)')
    expect(await verify(full)).toEqual({ object: 'platform.ledger_verification', adds_up: true, findings: [] })
  }
})

test('a key whose monthly budget was taken away spends on, and everything adds up', async () => {
  const [{ key } = { key: '' }] = await query<{ key: string }>(`select id as key from api_keys where kind = 'project'`)
  await query('select set_key_budget($1, 5000000000, $2)', [key, 'month'])
  await query('delete from key_budgets where key_id = $1', [key])
  await settleCall(key, 50)
  for (const full of [false, true]) expect(await verify(full)).toMatchObject({ adds_up: true, findings: [] })
  await query('select set_key_budget($1, 5000000000, $2)', [key, 'day'])
})

type Case = { rule: string; break: string; mend: string; subject: RegExp; seenInPart: boolean }
const window = `scope_id = '$org' and period = 'month'`
const cases: readonly Case[] = [
  {
    rule: 'transactions',
    break: `update ledger_entries set amount_nano_usd = amount_nano_usd + 5 where account_id = 'platform/revenue'`,
    mend: `update ledger_entries set amount_nano_usd = amount_nano_usd - 5 where account_id = 'platform/revenue'`,
    subject: /^[0-9a-f-]{36}$/,
    seenInPart: true,
  },
  {
    rule: 'transactions',
    break: `insert into ledger_transactions (kind, reference) values ('grant', 'empty')`,
    mend: `delete from ledger_transactions where reference = 'empty'`,
    subject: /^[0-9a-f-]{36}$/,
    seenInPart: true,
  },
  {
    rule: 'balances',
    break: `update ledger_accounts set balance_nano_usd = balance_nano_usd + 7 where id = 'platform/funding'`,
    mend: `update ledger_accounts set balance_nano_usd = balance_nano_usd - 7 where id = 'platform/funding'`,
    subject: /^platform\/funding$/,
    seenInPart: true,
  },
  {
    rule: 'leases',
    break: `update leases set granted_nano_usd = granted_nano_usd + 3 where id = '${lease}'`,
    mend: `update leases set granted_nano_usd = granted_nano_usd - 3 where id = '${lease}'`,
    subject: /\/leased$/,
    seenInPart: true,
  },
  {
    rule: 'grants',
    break: `update credit_grants set remaining_nano_usd = remaining_nano_usd - 11`,
    mend: `update credit_grants set remaining_nano_usd = remaining_nano_usd + 11`,
    subject: /^org-/,
    seenInPart: true,
  },
  {
    rule: 'leased windows',
    break: `update spend_windows set leased_nano_usd = leased_nano_usd + 2 where ${window}`,
    mend: `update spend_windows set leased_nano_usd = leased_nano_usd - 2 where ${window}`,
    subject: /^org-\w+ month \d{4}-\d\d-01$/,
    seenInPart: true,
  },
  {
    rule: 'spent windows',
    break: `update spend_windows set spent_nano_usd = spent_nano_usd + 9 where ${window}`,
    mend: `update spend_windows set spent_nano_usd = spent_nano_usd - 9 where ${window}`,
    subject: /^org-\w+ month \d{4}-\d\d-01$/,
    seenInPart: true,
  },
  {
    rule: 'spent windows',
    break: `update spend_windows set spent_nano_usd = spent_nano_usd - 400 where scope_id like 'proj_%'`,
    mend: `update spend_windows set spent_nano_usd = spent_nano_usd + 400 where scope_id like 'proj_%'`,
    subject: /^proj_\w+ month /,
    seenInPart: true,
  },
  {
    rule: 'spent windows',
    break: `update spend_windows set spent_nano_usd = spent_nano_usd + 1 where period = 'day'`,
    mend: `update spend_windows set spent_nano_usd = spent_nano_usd - 1 where period = 'day'`,
    subject: /^key_\w+ day /,
    seenInPart: true,
  },
  {
    rule: 'lost leases',
    break: `update nodes set left_at = now() - interval '25 hours'`,
    mend: `update nodes set left_at = null`,
    subject: /^[0-9a-f-]{36}$/,
    seenInPart: true,
  },
]

describe('what was tampered with is found', () => {
  test.each(cases.map((row, number) => ({ number, ...row })))('$rule ($number)', async row => {
    const fill = (text: string): string => text.replaceAll('$org', organization)
    await tamper(fill(row.break))
    try {
      for (const full of [false, true]) {
        const { adds_up, findings } = await verify(full)
        expect(adds_up).toBe(false)
        const found = findings.filter(({ rule }) => rule === row.rule)
        expect(found.length, JSON.stringify(findings)).toBeGreaterThan(0)
        expect(found[0]?.subject).toMatch(row.subject)
      }
    } finally {
      await tamper(fill(row.mend))
    }
    expect(await verify(true)).toMatchObject({ adds_up: true, findings: [] })
  })
})

test('what is older than the last verification is verified by its sums; a change in it is seen by a full one', async () => {
  await query(`insert into ledger_accounts (id, kind) values ('platform/test', 'funding')`)
  await tamper(`insert into ledger_transactions (id, kind, reference, created_at)
    values ('00000000-0000-4000-8000-000000000009', 'grant', 'old', now() - interval '1 hour')`)
  await query(`insert into ledger_entries values ('00000000-0000-4000-8000-000000000009', 'platform/test', 50),
    ('00000000-0000-4000-8000-000000000009', 'platform/funding', -50)`)
  expect((await verify(true)).adds_up).toBe(true)
  const [checkpoint] = await query(`select sum_nano_usd from ledger_checkpoints where account_id = 'platform/test'`)
  expect(checkpoint).toEqual({ sum_nano_usd: 50n })
  await tamper(`update ledger_entries set amount_nano_usd = 51 where account_id = 'platform/test'`)
  expect((await verify(false)).adds_up).toBe(true)
  const { findings } = await verify(true)
  expect(findings.map(({ rule, expected_usd, found_usd }) => [rule, expected_usd, found_usd]).sort()).toEqual([
    ['balances', '0.000000051', '0.00000005'],
    ['transactions', '0.00', '0.000000001'],
  ])
  // A part does not take back what it cannot see
  expect((await verify(false)).findings.map(({ rule }) => rule)).toContain('transactions')
  await tamper(`update ledger_entries set amount_nano_usd = 50 where account_id = 'platform/test'`)
  expect((await verify(true)).adds_up).toBe(true)
})

test('a finding is in the log once, in the metric, in the status and among those of now', async () => {
  await tamper(`update credit_grants set remaining_nano_usd = remaining_nano_usd - 11`)
  const jobs = await testJobs(platform.database)
  const run = () => jobOf('verify-ledger').run({ ...jobs.parts, mailer: undefined })
  expect(await run()).toContain('1 findings')
  await run()
  const told = jobs.logged.filter(line => line.includes('does not add up'))
  expect(told.map(line => JSON.parse(line))).toMatchObject([{ level: 50, rule: 'grants', subject: organization }])
  const get = async (path: string) => (await platform.send(platform.first.adminKey, 'GET', path)).json
  expect((await get('/v1/platform/status')).ledger).toEqual({ findings: 1 })
  expect((await get('/v1/platform/ledger/verification')).findings).toMatchObject([
    { rule: 'grants', subject: organization },
  ])
  const node = await startNode(platform, 'node-a')
  expect(await node.metrics()).toMatch(/^keyhouse_ledger_findings 1$/m)
  await tamper(`update credit_grants set remaining_nano_usd = remaining_nano_usd + 11`)
  expect(await run()).toBe('everything adds up')
  expect((await get('/v1/platform/status')).ledger).toEqual({ findings: 0 })
  expect(await node.metrics()).toMatch(/^keyhouse_ledger_findings 0$/m)
  await node.stop()
})

test('money that moves while it is verified is no finding', async () => {
  let moving = true
  const move = async (id: string): Promise<void> => {
    while (moving) {
      await growLease(platform.database, {
        lease: id as LeaseId,
        account: { kind: 'credit', organization: platform.first.organizationId },
        node: 'node-a',
        need: nanoUsd(10n),
        want: nanoUsd(10n),
        least: nanoUsd(10n),
      })
    }
  }
  const movers = [move(randomUUID()), move(randomUUID())]
  try {
    for (let round = 0; round < 10; round += 1) expect((await verify(round % 2 === 0)).findings).toEqual([])
  } finally {
    moving = false
    await Promise.all(movers)
  }
})

test('only the operator verifies', async () => {
  const { status } = await platform.send(platform.other.adminKey, 'POST', '/v1/platform/ledger/verification', {})
  expect(status).toBe(403)
})
