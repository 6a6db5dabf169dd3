// limits, model-permissions, spend-limit, spend-alerts and certificates, as typed.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Api, list, refuse, runOn, startApi } from '../testing.ts'

const project = (id: string, status: string) => ({ id, name: `The ${id}`, created_at: 1_790_000_000, status })
const limit = {
  object: 'project.rate_limit',
  id: 'rl-org/m',
  model: 'org/m',
  max_requests_per_1_minute: 60,
  max_tokens_per_1_minute: 1_000_000,
}
const testLimit = { ...limit, id: 'rl-keyhouse-test-chat', model: 'keyhouse-test-chat' }
const tier = {
  object: 'organization.usage_tier',
  organization_id: 'org-a',
  usage_tier: '1',
  promotion: 'automatic',
  monthly_cap_usd: '100.00',
  limits: [],
  next: { usage_tier: '2', paid_usd: '50.00', days: 0, monthly_cap_usd: '500.00' },
}
const spendLimit = {
  object: 'organization.spend_limit',
  threshold_amount: 1_250,
  currency: 'USD',
  interval: 'month',
  enforcement: { status: 'enforcing' },
}
const alert = {
  id: 'alert_1',
  object: 'organization.spend_alert',
  threshold_amount: 5_000,
  currency: 'USD',
  interval: 'month',
  last_fired_at: 1_790_000_000,
  notification_channel: { type: 'email', recipients: ['a@example.com'], subject_prefix: null },
}
const certificate = {
  object: 'organization.certificate',
  id: 'cert_1',
  name: 'ours',
  created_at: 1_790_000_000,
  certificate_details: { valid_at: 1_790_000_000, expires_at: 1_790_003_600 },
  active: false,
}
const permissions = { object: 'project.model_permissions', mode: 'allow_list', model_ids: ['m', 'n'] }
const tools = { web_search: { enabled: true }, mcp: { enabled: true } }
const own = '/v1/organization'
const ofA = `${own}/projects/proj_a`

let api: Api
beforeEach(async () => {
  api = await startApi({
    [`GET ${own}/projects`]: list([project('proj_old', 'archived'), project('proj_a', 'active')]),
    [`GET ${ofA}`]: project('proj_a', 'active'),
    [`GET ${ofA}/rate_limits`]: list([limit, testLimit]),
    [`POST ${ofA}/rate_limits/rl-org%2Fm`]: limit,
    [`DELETE ${ofA}/rate_limits/rl-org%2Fm`]: { object: 'project.rate_limit.deleted', id: 'rl-org/m', deleted: true },
    [`GET ${own}/rate_limits`]: list([limit]),
    [`POST ${own}/rate_limits/rl-m`]: limit,
    [`POST ${ofA}/api_keys/key_1/rate_limits/rl-m`]: limit,
    [`GET ${own}/usage_tier`]: tier,
    [`POST ${own}/usage_tier`]: { ...tier, usage_tier: null, monthly_cap_usd: null, next: null },
    [`GET ${ofA}/model_permissions`]: { ...permissions, mode: 'deny_list', model_ids: [] },
    [`POST ${ofA}/model_permissions`]: permissions,
    [`DELETE ${ofA}/model_permissions`]: { object: 'project.model_permissions.deleted', deleted: true },
    [`GET ${ofA}/hosted_tool_permissions`]: tools,
    [`POST ${ofA}/hosted_tool_permissions`]: { ...tools, web_search: { enabled: false } },
    [`GET ${own}/data_retention`]: { object: 'organization.data_retention', type: 'zero_data_retention' },
    [`POST ${ofA}/data_retention`]: { object: 'project.data_retention', type: 'none' },
    [`GET ${own}/spend_limit`]: refuse(404, 'No such spend limit: none is set.'),
    [`GET ${ofA}/spend_limit`]: { ...spendLimit, object: 'project.spend_limit' },
    [`GET ${ofA}/spend`]: { spent_usd: '3.20', remaining_usd: '9.30', resets_at: 1_796_083_200 },
    [`POST ${own}/spend_limit`]: spendLimit,
    [`DELETE ${own}/spend_limit`]: { object: 'organization.spend_limit.deleted', deleted: true },
    [`GET ${own}/spend_alerts`]: list([alert]),
    [`POST ${own}/spend_alerts`]: alert,
    [`GET ${own}/spend_alerts/alert_1`]: alert,
    [`POST ${own}/spend_alerts/alert_1`]: alert,
    [`DELETE ${own}/spend_alerts/alert_1`]: { id: 'alert_1', deleted: true },
    [`GET ${own}/certificates`]: list([certificate]),
    [`POST ${own}/certificates`]: { ...certificate, object: 'certificate' },
    [`POST ${own}/certificates/activate`]: { object: 'organization.certificate.activation', data: [certificate] },
    [`POST ${ofA}/certificates/deactivate`]: { object: 'organization.project.certificate.deactivation', data: [] },
    [`GET ${own}/certificates/cert_1`]: {
      ...certificate,
      certificate_details: { ...certificate.certificate_details, content: 'PEM' },
    },
  })
})
afterEach(() => api.close())

const run = async (line: string) => {
  const { code, stdout, stderr } = await runOn(api, line.split(' '))
  return { code, stdout, stderr, sent: JSON.parse(api.asked.at(-1)?.body || 'null'), last: api.asked.at(-1) }
}

describe('limits', () => {
  test('list shows what is limited, of the first active project', async () => {
    const { stdout } = await run('limits list')
    expect(stdout).toMatch(/^MODEL +REQUESTS +TOKENS$/m)
    expect(stdout).toMatch(/^org\/m +60 +1,000,000$/m)
    expect(JSON.parse((await run('limits list --json')).stdout)).toEqual({ object: 'list', data: [limit, testLimit] })
    expect(stdout).not.toContain('keyhouse-test-chat')
    expect(stdout).toContain('Test models: 1 (--all shows them)')
    expect((await run('limits list --all')).stdout).toContain('keyhouse-test-chat')
  })

  test('set sends the limits that were named, and no others', async () => {
    const { stdout, sent } = await run('limits set org/m --project proj_a --requests 60 --daily-batch-tokens 5')
    expect(sent).toEqual({ max_requests_per_1_minute: 60, batch_1_day_max_input_tokens: 5 })
    expect(stdout).toContain('The proj_a may ask org/m for 60 requests a minute, 1,000,000 tokens a minute.')
  })

  test('of the organization, of another one, and of a key', async () => {
    const { stdout } = await run('limits set m --organization --daily-tokens 9 --concurrent 2')
    expect(stdout).toContain('The organization may ask m for 60 requests a minute')
    const other = await run('limits set m --organization org-b --requests 60')
    expect([other.last?.query.get('organization_id'), other.sent]).toEqual(['org-b', { max_requests_per_1_minute: 60 }])
    const key = await run('limits set m --key key_1 --project proj_a --requests 6 --json')
    expect(JSON.parse(key.stdout)).toEqual(limit)
    expect((await run('limits list --organization org-b')).last?.query.get('organization_id')).toBe('org-b')
    expect((await run('limits list --organization --project proj_a')).code).toBe(2)
  })

  test('clear removes what was set', async () => {
    const { stdout } = await run('limits clear org/m --project proj_a')
    expect(stdout).toBe('Limits of The proj_a for org/m are removed: those above hold.\n')
  })

  test('the usage tier is shown and set', async () => {
    expect((await run('limits tier')).stdout).toBe(
      'org-a is in usage tier 1 and may spend $100.00 a month. Tier 2 asks for $50.00 paid.\n',
    )
    const set = await run('limits set-tier none --organization org-a')
    expect(set.sent).toEqual({ usage_tier: null, organization_id: 'org-a' })
    expect((await run('limits set-tier 6')).code).toBe(2)
  })

  test.each(['limits set m', 'limits set m --tokens many', 'limits set m --requests 0'])(
    '%s is refused',
    async line => {
      expect((await run(line)).code).toBe(2)
      expect(api.asked).toEqual([])
    },
  )
})

test('model-permissions: show, allow, deny, clear', async () => {
  expect((await run('model-permissions show')).stdout).toBe('The proj_a may call all models.\n')
  const allowed = await run('model-permissions allow m n')
  expect([allowed.stdout, allowed.sent]).toEqual([
    'The proj_a may call only m, n.\n',
    { mode: 'allow_list', model_ids: ['m', 'n'] },
  ])
  expect((await run('model-permissions deny m')).sent).toEqual({ mode: 'deny_list', model_ids: ['m'] })
  expect((await run('model-permissions clear --json')).stdout).toContain('"deleted": true')
})

test('hosted-tools: show, disable', async () => {
  expect((await run('hosted-tools show')).stdout).toMatch(/^web_search +yes$/m)
  const disabled = await run('hosted-tools disable web-search mcp')
  expect(disabled.sent).toEqual({ web_search: { enabled: false }, mcp: { enabled: false } })
  expect(disabled.stdout).toMatch(/^web_search +no$/m)
  const unknown = await run('hosted-tools disable web-serch')
  expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining("'web_serch': web_search, mcp")])
})

test('data-retention: show, set', async () => {
  expect((await run('data-retention show')).stdout).toBe('Data retention of the organization: zero_data_retention.\n')
  const set = await run('data-retention set none --project proj_a')
  expect([set.sent, set.stdout]).toEqual([{ retention_type: 'none' }, 'Data retention of The proj_a: none.\n'])
  expect((await run('data-retention set nothing')).stderr).toContain('zero_data_retention, ')
})

test('spend-limit: dollars in, cents sent, and what is left', async () => {
  expect((await run('spend-limit show')).stdout).toBe('No spend limit is set for the organization.\n')
  expect((await run('spend-limit show --json')).code).toBe(5)
  expect((await run('spend-limit show --project proj_a')).stdout).toBe(
    'The spend limit of The proj_a is $12.50 a month. $3.20 is spent, $9.30 left; it starts anew at 2026-12-01 00:00 UTC.\n',
  )
  const set = await run('spend-limit set 12.50')
  expect(set.sent).toEqual({ threshold_amount: 1_250, currency: 'USD', interval: 'month' })
  expect(set.stdout).toContain('$12.50 a month')
  expect((await run('spend-limit set 0.001')).code).toBe(2)
  expect((await run('spend-limit clear')).last).toMatchObject({ method: 'DELETE', path: `${own}/spend_limit` })
})

test('spend-alerts: list, add, update, remove', async () => {
  expect((await run('spend-alerts list')).stdout).toMatch(/^alert_1 +\$50.00 +a@example.com +- +2026-09-21 14:13$/m)
  const added = await run('spend-alerts add 50 --to a@example.com,b@example.com --prefix [AI]')
  expect(added.sent).toMatchObject({
    threshold_amount: 5_000,
    notification_channel: { type: 'email', recipients: ['a@example.com', 'b@example.com'], subject_prefix: '[AI]' },
  })
  const share = await run('spend-alerts add 80% --to a@example.com')
  expect(share.sent).toMatchObject({ threshold_percent: 80 })
  expect(share.sent).not.toHaveProperty('threshold_amount')
  expect((await run('spend-alerts add 80%% --to a@example.com')).code).toBe(2)
  const { id: _id, object: _object, last_fired_at: _at, ...before } = alert
  const moved = await run('spend-alerts update alert_1 --at 80%')
  expect(moved.sent).toEqual({ ...before, threshold_amount: undefined, threshold_percent: 80 })
  const told = await run('spend-alerts update alert_1 --to b@example.com --prefix [AI]')
  expect(told.sent).toEqual({
    ...before,
    notification_channel: { type: 'email', recipients: ['b@example.com'], subject_prefix: '[AI]' },
  })
  expect((await run('spend-alerts update alert_1')).code).toBe(2)
  expect((await run('spend-alerts remove alert_1')).stdout).toContain('Removed alert_1.')
})

test('certificates: upload, list, show, activate, deactivate', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'keyhouse-cli-'))
  try {
    await writeFile(join(folder, 'ca.pem'), 'the certificate')
    const uploaded = await run(`certificates upload ${join(folder, 'ca.pem')} --name ours`)
    expect(uploaded.sent).toEqual({ name: 'ours', certificate: 'the certificate' })
    expect(uploaded.stdout).toContain('keyhouse certificates activate cert_1')
    expect((await run(`certificates upload ${folder}/nothing`)).code).toBe(2)
  } finally {
    await rm(folder, { recursive: true })
  }
  expect((await run('certificates list')).stdout).toMatch(/^cert_1 +ours +no +2026-09-21 15:13$/m)
  expect((await run('certificates show cert_1')).stdout).toBe('PEM\n')
  expect(api.asked.at(-1)?.query.getAll('include[]')).toEqual(['content'])
  const activated = await run('certificates activate cert_1 cert_2')
  expect(activated.sent).toEqual({ certificate_ids: ['cert_1', 'cert_2'] })
  expect(activated.stdout).toContain('Calls without a client certificate that verifies are refused')
  const off = await run('certificates deactivate cert_1 --project proj_a')
  expect(off.last?.path).toBe(`${ofA}/certificates/deactivate`)
})
