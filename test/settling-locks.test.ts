/** Usage is settled while others move the same money, and nobody waits in a circle. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ApiKeyId, LeaseId, OrganizationId } from '#contract/ids.ts'
import { nanoUsd } from '#core/money.ts'
import { periodStart, type SpendAccount } from '#core/spending.ts'
import { sql } from '#storage/database.ts'
import { growLease } from '#storage/leases.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

let platform: TestPlatform
beforeAll(async () => {
  platform = await testPlatform()
})
afterAll(() => platform?.stop())

const query = <Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> =>
  platform.database.query<Row>(sql(text), values)

async function lease(account: SpendAccount): Promise<LeaseId> {
  const id = randomUUID() as LeaseId
  const amount = nanoUsd(1_000n)
  const { granted } = await growLease(platform.database, {
    lease: id,
    account,
    node: 'n',
    need: amount,
    want: amount,
    least: amount,
  })
  expect(granted).toBe(amount)
  return id
}

const record = (key: string, credit: LeaseId, limit?: LeaseId) => ({
  id: randomUUID(),
  occurred_at: new Date(),
  request_id: 'req_1',
  organization_id: platform.first.organizationId,
  project_id: platform.projectId,
  api_key_id: key,
  endpoint: 'chat.completions',
  model: 'm',
  provider: 'p',
  upstream_model: 'm',
  outcome: 'complete',
  estimated: false,
  input_tokens: 1,
  cached_input_tokens: 0,
  output_tokens: 1,
  reasoning_tokens: 0,
  lease_id: credit,
  limit_lease_ids: limit ? [limit] : null,
  charged_nano_usd: 400,
  overrun_nano_usd: 0,
  duration_ms: 1,
})

test('a lease on a budget whose period was changed is handed back while its usage is settled', async () => {
  const organization = platform.first.organizationId as OrganizationId
  const [{ id: key } = { id: '' as ApiKeyId }] = await query<{ id: ApiKeyId }>(
    `select id from api_keys where kind = 'project' and organization_id = $1`,
    [organization],
  )
  await query('select set_key_budget($1, 5000000000, $2)', [key, 'day'])
  const startsAtMs = periodStart('day', Date.now())
  const credit = await lease({ kind: 'credit', organization })
  const limit = await lease({ kind: 'key', organization, scope: key, period: 'day', startsAtMs })
  await query('select set_key_budget($1, 5000000000, $2)', [key, 'week'])

  let settled: Promise<unknown> | undefined
  await platform.database.transaction(async tx => {
    // As return_lease takes them: the window, then the lease
    await tx.query(sql(`select from spend_windows where scope_id = $1 and period = 'day' for no key update`), [key])
    settled = query('select settle_usage($1)', [JSON.stringify([record(key, credit, limit)])])
    settled.catch(() => undefined)
    await sleep(settlingMs)
    await tx.query(sql('select return_lease($1, 600, false)'), [limit])
  })
  await settled
  expect(
    await query('select spent_nano_usd, leased_nano_usd from spend_windows where scope_id = $1 and period = $2', [
      key,
      'day',
    ]),
  ).toEqual([{ spent_nano_usd: 0n, leased_nano_usd: 0n }])
})

test('two leases that were taken back, in one batch: what one has of the credit the other has not', async () => {
  const organization = platform.first.organizationId as OrganizationId
  const [{ id: key } = { id: '' }] = await query<{ id: string }>(
    `select id from api_keys where kind = 'project' and organization_id = $1`,
    [organization],
  )
  const leases = [await lease({ kind: 'credit', organization }), await lease({ kind: 'credit', organization })]
  for (const id of leases) await query('select close_lease($1)', [id])
  // All but 500 nano-dollars of the credit go
  await query(`update credit_grants set revoked_at = now() where organization_id = $1`, [organization])
  await query('select expire_credit($1)', [organization])
  await query(
    `insert into credit_grants (id, organization_id, kind, amount_nano_usd, remaining_nano_usd, priority, reference)
     values ('cg_last', $1, 'purchased', 500, 500, 30, 'last')`,
    [organization],
  )
  await query(`select post_ledger('grant', 'last', array['platform/funding', $1 || '/credit'], array[-500, 500])`, [
    organization,
  ])
  const batch = leases.map(id => record(key, id))
  expect(await query('select settle_usage($1) as fresh', [JSON.stringify(batch)])).toEqual([{ fresh: 2 }])
  const ids = batch.map(({ id }) => id)
  expect(
    await query(
      `select charged_nano_usd as charged, overrun_nano_usd as borne from usage_events where id = any ($1) order by 1`,
      [ids],
    ),
  ).toEqual([
    { charged: 100n, borne: 300n },
    { charged: 400n, borne: 0n },
  ])
  expect(await query('select balance_nano_usd from ledger_accounts where id = $1', [`${organization}/credit`])).toEqual(
    [{ balance_nano_usd: 0n }],
  )
})

/** For a statement to come to where it has to wait. */
const settlingMs = 300
