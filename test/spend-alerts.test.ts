// Spend alerts: reached once, told once, whatever is edited and however many nodes look.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type JobName, jobOf } from '#platform/jobs/jobs.ts'
import { openDatabase } from '#storage/database.ts'
import { testJobs } from './support/jobs.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

let platform: TestPlatform
beforeAll(async () => {
  platform = await testPlatform()
  await query(`update users set email = 'owner@example.com' where organization_id = $1`, [
    platform.first.organizationId,
  ])
})
afterAll(() => platform.stop())

const query = <Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> =>
  platform.database.query<Row>({ text }, values)

const ask = (method: string, path: string, body?: unknown) =>
  platform.send(platform.first.adminKey, method, `/v1/organization${path}`, body)

const monthly = { currency: 'USD', interval: 'month' }
const alert = (threshold: object, extra: object = {}) => ({
  ...threshold,
  ...monthly,
  notification_channel: { type: 'email', recipients: ['a@example.com', 'b@example.com'], ...extra },
})

/** In dollars, of the month. */
const spend = (scope: string, usd: number) =>
  query(
    `insert into spend_windows (scope_id, period, starts_at, spent_nano_usd)
     values ($1, 'month', window_start('month', now()), $2)
     on conflict (scope_id, period, starts_at) do update set spent_nano_usd = excluded.spent_nano_usd`,
    [scope, usd * 1e9],
  )

/** @returns whom the new mails are to */
async function evaluate(job: JobName = 'evaluate-spend-alerts'): Promise<string[]> {
  await query('delete from mails')
  await look(job)
  const mails = await query<{ recipient: string }>('select recipient from mails order by recipient')
  return mails.map(({ recipient }) => recipient)
}

/** Two nodes, at the same moment. */
async function look(job: JobName): Promise<void> {
  const times = { connectTimeoutMs: 5_000, statementTimeoutMs: 5_000 }
  const databases = [1, 2].map(() =>
    openDatabase({ connection: platform.connection, connectionsMax: 2, ...times }, () => undefined),
  )
  for (const both of [databases]) {
    const nodes = await Promise.all(both.map(database => testJobs(database)))
    await Promise.all(nodes.map(({ parts }) => jobOf(job).run({ ...parts, mailer: undefined })))
  }
  for (const database of databases) await database.close()
}

const everybody = ['a@example.com', 'b@example.com', 'owner@example.com']

test('an alert at an amount is told once a month: to each recipient, and to the owners', async () => {
  const { json } = await ask('POST', '/spend_alerts', alert({ threshold_amount: 5_000 }, { subject_prefix: '[prod]' }))
  expect(json).toMatchObject({ threshold_amount: 5_000, last_fired_at: null })
  expect(json).not.toHaveProperty('threshold_percent')
  await spend(platform.first.organizationId, 49)
  expect(await evaluate()).toEqual([])
  await spend(platform.first.organizationId, 51)
  expect(await evaluate()).toEqual(everybody)
  const [mail] = await query<{ subject: string; body: string }>('select subject, body from mails limit 1')
  expect(mail?.subject).toMatch(/^\[prod\] .* has spent \$50\.00 this month$/)
  expect(mail?.body).toContain('has spent $51.00 in')
  expect(await evaluate()).toEqual([])
  await spend(platform.first.organizationId, 500)
  expect(await evaluate()).toEqual([])
  const shown = (await ask('GET', `/spend_alerts/${json.id}`)).json
  expect(shown.last_fired_at).toBeGreaterThan(Date.now() / 1000 - 60)
  // The next month is another one
  await query(`update spend_alert_firings set starts_at = starts_at - interval '1 month'`)
  expect(await evaluate()).toEqual(everybody)
  await ask('DELETE', `/spend_alerts/${json.id}`)
})

test('what was passed is not told again when the threshold is edited, unless it is raised beyond what is spent', async () => {
  await spend(platform.first.organizationId, 100)
  const { json } = await ask('POST', '/spend_alerts', alert({ threshold_amount: 5_000 }))
  expect(await evaluate()).toEqual(everybody)
  const edit = (cents: number) => ask('POST', `/spend_alerts/${json.id}`, alert({ threshold_amount: cents }))
  for (const cents of [4_000, 9_000, 10_000]) {
    await edit(cents)
    expect(await evaluate()).toEqual([])
  }
  await edit(12_000)
  expect(await evaluate()).toEqual([])
  await spend(platform.first.organizationId, 120)
  expect(await evaluate()).toEqual(everybody)
  await ask('DELETE', `/spend_alerts/${json.id}`)
})

test('an alert at a share of the spend limit moves with it, and is silent where there is no limit', async () => {
  const path = `/projects/${platform.projectId}`
  const { status, json } = await ask('POST', `${path}/spend_alerts`, alert({ threshold_percent: 80 }))
  expect([status, json.threshold_amount, json.threshold_percent]).toEqual([200, null, 80])
  await spend(platform.projectId, 79)
  expect(await evaluate()).toEqual([])
  await ask('POST', `${path}/spend_limit`, { threshold_amount: 10_000, ...monthly })
  expect(await evaluate()).toEqual([])
  await spend(platform.projectId, 80)
  expect(await evaluate()).toEqual(everybody)
  const [mail] = await query<{ body: string }>('select body from mails limit 1')
  expect(mail?.body).toContain('at $80.00 (80 % of the spend limit)')
  await ask('POST', `${path}/spend_limit`, { threshold_amount: 20_000, ...monthly })
  await ask('POST', `${path}/spend_limit`, { threshold_amount: 5_000, ...monthly })
  expect(await evaluate()).toEqual([])
  await ask('DELETE', `${path}/spend_alerts/${json.id}`)
})

test('nothing spent reaches nothing, not even an alert at zero', async () => {
  await spend(platform.first.organizationId, 0)
  const { json } = await ask('POST', '/spend_alerts', alert({ threshold_amount: 0 }))
  expect(await evaluate()).toEqual([])
  await spend(platform.first.organizationId, 0.000000001)
  expect(await evaluate()).toEqual(everybody)
  await ask('DELETE', `/spend_alerts/${json.id}`)
})

test('an edit that leaves the threshold as it is never tells again, wherever the limit has gone meanwhile', async () => {
  const path = `/projects/${platform.projectId}`
  const limit = (cents: number) => ask('POST', `${path}/spend_limit`, { threshold_amount: cents, ...monthly })
  await limit(10_000)
  await spend(platform.projectId, 90)
  const { json } = await ask('POST', `${path}/spend_alerts`, alert({ threshold_percent: 80 }))
  expect(await evaluate()).toEqual(everybody)
  await limit(50_000)
  await ask('POST', `${path}/spend_alerts/${json.id}`, alert({ threshold_percent: 80 }, { subject_prefix: '[new]' }))
  await limit(10_000)
  expect(await evaluate()).toEqual([])
  await ask('DELETE', `${path}/spend_alerts/${json.id}`)
})

test('alerts that are made anew all day long send so many mails and no more; what is due is told when there is room', async () => {
  const { organizationId } = platform.first
  await spend(organizationId, 100)
  const crowd = Array.from({ length: 50 }, (_, index) => `r${index}@example.com`)
  const channel = { type: 'email', recipients: crowd }
  const make = async () => {
    const made = await ask('POST', '/spend_alerts', {
      threshold_amount: 5_000,
      ...monthly,
      notification_channel: channel,
    })
    return made.json.id as string
  }
  const told = async (): Promise<number> =>
    Number((await query<{ count: bigint }>('select count(*) as count from mails'))[0]?.count)
  await query('delete from mails')
  const ids: string[] = []
  for (let round = 0; round < 14; round += 1) {
    ids.push(await make())
    await look('evaluate-spend-alerts')
  }
  // 51 each: to the crowd, and to the owner
  expect(await told()).toBe(10 * 51)
  await query(`update mails set created_at = created_at - interval '2 days'`)
  await look('evaluate-spend-alerts')
  expect(await told()).toBe(14 * 51)
  for (const id of ids) await ask('DELETE', `/spend_alerts/${id}`)
})

test.each([
  [{}, 'threshold_amount', 'missing_required_parameter'],
  [{ threshold_amount: 1, threshold_percent: 1 }, 'threshold_percent', 'invalid_value'],
  [{ threshold_percent: 0 }, 'threshold_percent', 'invalid_value'],
  [{ threshold_percent: 1_001 }, 'threshold_percent', 'invalid_value'],
  [{ threshold_percent: 12.5 }, 'threshold_percent', 'invalid_type'],
])('%j is no threshold', async (threshold, param, code) => {
  const { status, json } = await ask('POST', '/spend_alerts', alert(threshold))
  expect([status, json.error.param, json.error.code]).toEqual([400, param, code])
})

test("a key's owner is told at 80 % of its budget and when it is used up, once a period, also after a rotation", async () => {
  const [{ key } = { key: '' }] = await query<{ key: string }>(
    `select id as key from api_keys where kind = 'project' and organization_id = $1`,
    [platform.first.organizationId],
  )
  await query(`select set_key_budget($1, 10000000000, 'day')`, [key])
  const spent = (usd: number) =>
    query(`update spend_windows set spent_nano_usd = $2 where scope_id = $1 and period = 'day'`, [key, usd * 1e9])
  const told = () => evaluate('evaluate-key-budgets')
  expect(await told()).toEqual([])
  await spent(7.99)
  expect(await told()).toEqual([])
  await spent(8)
  expect(await told()).toEqual(['owner@example.com'])
  const [mail] = await query<{ subject: string; body: string }>('select subject, body from mails')
  expect(mail?.subject).toContain('has used 80 % of its budget')
  expect(mail?.body).toContain('has spent $8.00 of its budget of $10.00 a day')
  expect(await told()).toEqual([])
  await query(
    `insert into api_keys (id, kind, organization_id, project_id, name, secret_hash, pepper_id, redacted, budget_key_id)
     select 'key_next', kind, organization_id, project_id, 'the next', 'x', pepper_id, redacted, id from api_keys where id = $1`,
    [key],
  )
  await spent(10)
  expect(await told()).toEqual(['owner@example.com'])
  expect((await query<{ subject: string }>('select subject from mails'))[0]?.subject).toContain('the next is used up')
  expect(await told()).toEqual([])
  await query(
    `update spend_windows set starts_at = starts_at - interval '1 day' where scope_id = $1 and period = 'day'`,
    [key],
  )
  expect(await told()).toEqual([])
})

test('the audit log says which of the two it was', async () => {
  const { json } = await ask('POST', '/spend_alerts', alert({ threshold_percent: 90 }))
  const [entry] = (await ask('GET', '/audit_logs?limit=1')).json.data
  expect(entry['organization.updated'].changes_requested.spend_alert).toMatchObject({
    id: json.id,
    threshold_percent: 90,
  })
})
