/**
 * A loop over the contract: every row that changes something leaves an entry in the audit log, in the transaction of the
 * change. Proved both ways: with the log refusing entries no row changes anything; without, each change has its entry.
 *
 * A new row that is no GET makes this fail until it has a step.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { allEndpoints } from '#contract/endpoints.ts'
import { backupTables } from '#storage/backup-tables.ts'
import { sql } from '#storage/database.ts'
import { endpointOf, fillPath, type Ids, type Step, steps, takeSteps } from './support/admin-steps.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

/** What the walk through an organization leaves out: the operator's own, and leaks. */
const operatorSteps: readonly Step[] = [
  {
    row: 'providers.create',
    body: { name: 'steps', base_url: 'http://127.0.0.1:9/v1', api_key: 'upstream', models: [] },
    keep: { provider: 'id' },
  },
  { row: 'models.set', body: { kind: 'chat', routes: [{ provider: 'steps' }] } },
  { row: 'models.price', body: { input_usd_per_million: '1', output_usd_per_million: '2' } },
  // What is known of it has no margin yet
  {
    row: 'providers.create',
    body: { name: 'openai', base_url: 'http://127.0.0.1:9/v1', models: [{ name: 'gpt-4o' }] },
  },
  { row: 'prices.setMargin', body: { percent: '10' } },
  { row: 'prices.update', body: {} },
  { row: 'modelAliases.set', body: { alias: 'steps-alias', model: 'steps-model' } },
  { row: 'modelAliases.delete' },
  { row: 'models.delete' },
  { row: 'providers.delete' },
]
const leakSteps: readonly Step[] = [
  { row: 'projectApiKeys.create', body: { name: 'found' }, keep: { found: 'value' } },
  { row: 'leaks.report', as: 'nobody', body: ({ found }: Ids) => ({ key: found, url: 'https://example.com' }) },
]
const names: Ids = { name: 'steps-model', alias: 'steps-alias' }

/** Rows whose change is not one transaction of the control plane, and which test looks at them. */
const elsewhere: Readonly<Record<string, string>> = {
  'leaks.github': 'does what leaks.report does, for each match of a signed report: leaks.test.ts',
  'models.pull': 'fetches files for minutes; its entries are looked at below',
  'jobs.run': 'changes nothing by itself; a job that changes something is an actor of its own: jobs.test.ts',
  'mails.test': 'sends a mail to whom it names: mail.test.ts',
  'ledger.verify': 'looks: ledger-verification.test.ts',
  'operations.restore': 'replaces the books, and writes into those that were restored: restore-running.ts',
}

const walk = [...steps.makeAll, ...steps.changeAll, ...operatorSteps, ...leakSteps, ...steps.removeAll]
const isChange = ({ row }: Step): boolean => endpointOf(row).row.method !== 'GET'
const changes = walk.filter(isChange)

let platform: TestPlatform
beforeAll(async () => {
  platform = await testPlatform()
  await run(`create function refuse_entry() returns trigger language plpgsql as $$
    begin raise exception 'the log is closed'; end $$`)
  await run('create trigger closed before insert on audit_logs for each row execute function refuse_entry()')
  await run('alter table audit_logs disable trigger closed')
})
afterAll(() => platform?.stop())

const run = (text: string) => platform.database.query<Record<string, unknown>>(sql(text))

/** All that the database holds, in one number for each table. */
async function contents(): Promise<unknown> {
  const tables = [...backupTables, 'auth_events']
  const sums = tables.map(name => `(select md5(string_agg(t::text, '|' order by t::text)) from ${name} t) as ${name}`)
  return run(`select ${sums.join(', ')}`)
}

const entries = async (): Promise<bigint> => (await run('select count(*) as count from audit_logs'))[0]?.count as bigint

test('every row that is no GET has a step, or a reason to be elsewhere', () => {
  const rows = allEndpoints.filter(({ row }) => row.method !== 'GET').map(({ noun, verb }) => `${noun}.${verb}`)
  const known = new Set([...changes.map(({ row }) => row), ...Object.keys(elsewhere)])
  expect(rows.filter(row => !known.has(row))).toEqual([])
  expect(Object.keys(elsewhere).filter(row => !rows.includes(row))).toEqual([])
})

describe('each change', () => {
  let ids: Ids = names

  async function attempt({ row: name, at, query = '', body, as }: Step): Promise<number> {
    const { row } = endpointOf(name)
    const key = as === undefined ? platform.first.adminKey : { nobody: null, project: ids.key_value ?? '' }[as]
    const known = { walk: 'one', rate_limit_id: 'rl-*', ...ids }
    const given = typeof body === 'function' ? body(known) : body
    return (await platform.send(key, row.method, fillPath(row.path, known, at) + query, given)).status
  }

  // In the order of the walk: a later step needs what the earlier ones made
  test.each(walk.filter(isChange))('$row', async step => {
    const before = await contents()
    await run('alter table audit_logs enable trigger closed')
    const status = await attempt(step)
    await run('alter table audit_logs disable trigger closed')
    expect(status, 'with the log closed').toBe(500)
    expect(await contents()).toEqual(before)
    const written = await entries()
    const { first, send } = platform
    ids = await takeSteps({ send, adminKey: first.adminKey }, [step], ids)
    expect(await contents()).not.toEqual(before)
    expect(await entries()).toBeGreaterThan(written)
  })

  test('of a pulled model too', async () => {
    const written = await entries()
    const { send, first } = platform
    await send(first.adminKey, 'POST', '/v1/platform/models/all-minilm-l6-v2/pull', {})
    await expect.poll(entries).toBeGreaterThan(written)
  })

  test('is in a chain that is whole', async () => {
    const { send, first } = platform
    const { json } = await send(first.adminKey, 'GET', '/v1/organization/audit_logs/verify')
    expect(json).toMatchObject({ whole: true, first_broken: null })
    expect(json.entries).toBeGreaterThan(changes.length - 5)
  })
})
