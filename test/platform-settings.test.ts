// Settings of organizations and projects: limits, permissions, retention, spend. Through the wire and the official SDK.
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { only, sql } from '#storage/database.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

let platform: TestPlatform

beforeAll(async () => {
  platform = await testPlatform()
})
afterAll(() => platform?.stop())

const ask = (method: string, path: string, body?: unknown) =>
  platform.send(platform.first.adminKey, method, `/v1/organization${path}`, body)
const theirs = (method: string, path: string, body?: unknown) =>
  platform.send(platform.other.adminKey, method, `/v1/organization${path}`, body)
const client = () =>
  new OpenAI({ adminAPIKey: platform.first.adminKey, apiKey: 'unused', baseURL: `${platform.url}/v1`, maxRetries: 0 })

async function newProject(): Promise<string> {
  return (await ask('POST', '/projects', { name: 'Settings' })).json.id
}

/** The newest entry of the operator's organization. */
async function lastAudit() {
  const text = 'select entry from audit_logs where organization_id = $1 order by number desc limit 1'
  const row = only(await platform.database.query<{ entry: string }>(sql(text), [platform.first.organizationId]))
  return JSON.parse(row.entry)
}

async function lastEvent() {
  const text = 'select subject_kind, subject_id from auth_events order by id desc limit 1'
  const row = only(await platform.database.query<{ subject_kind: string; subject_id: string }>(sql(text)))
  return [row.subject_kind, row.subject_id]
}

async function everything<Item>(pages: AsyncIterable<Item>): Promise<Item[]> {
  const items: Item[] = []
  for await (const item of pages) items.push(item)
  return items
}

describe('rate limits', () => {
  const model = 'tinyllama-1.1b-chat'

  test('of a model that is not there are refused with its name', async () => {
    const path = `/projects/${await newProject()}/rate_limits/rl-misspelt`
    const { status, json } = await ask('POST', path, { max_requests_per_1_minute: 5 })
    expect([status, json.error.message]).toEqual([404, expect.stringContaining('model: `misspelt`')])
  })

  test('any of the six can be set, and stays while others are set', async () => {
    const path = `/projects/${await newProject()}/rate_limits/rl-${model}`
    const first = await ask('POST', path, { max_images_per_1_minute: 5, max_requests_per_1_day: 100 })
    expect(first.json).toEqual({
      object: 'project.rate_limit',
      id: `rl-${model}`,
      model,
      max_requests_per_1_minute: 1_000,
      max_tokens_per_1_minute: 100_000,
      max_images_per_1_minute: 5,
      max_requests_per_1_day: 100,
    })
    const rest = {
      max_requests_per_1_minute: 7,
      max_tokens_per_1_minute: 8,
      max_audio_megabytes_per_1_minute: 9,
      batch_1_day_max_input_tokens: 10_000_000_000,
    }
    expect((await ask('POST', path, rest)).json).toMatchObject({
      ...rest,
      max_images_per_1_minute: 5,
      max_requests_per_1_day: 100,
    })
    expect(await lastAudit()).toMatchObject({
      type: 'rate_limit.updated',
      project: { name: 'Settings' },
      'rate_limit.updated': { id: `rl-${model}`, changes_requested: rest },
    })
  })

  test('none may be above the organization’s, and what the organization lowers is lower at once', async () => {
    const id = await newProject()
    await ask('POST', `/projects/${id}/rate_limits/rl-${model}`, { max_tokens_per_1_minute: 90_000 })
    const set = `insert into rate_limits (scope_id, model, tokens_per_minute, requests_per_day) values ($1, '*', 500, 50)`
    await platform.database.query(sql(set), [platform.first.organizationId])
    const above = await ask('POST', `/projects/${id}/rate_limits/rl-${model}`, { max_requests_per_1_day: 51 })
    expect([above.status, above.json.error]).toMatchObject([
      400,
      {
        param: 'max_requests_per_1_day',
        message: expect.stringContaining("more than the organization's limit of 50."),
      },
    ])
    const { json } = await ask('GET', `/projects/${id}/rate_limits`)
    const shown = json.data.find((row: { model: string }) => row.model === model)
    expect(shown).toMatchObject({ max_tokens_per_1_minute: 500, max_requests_per_1_day: 50 })
    await platform.database.query(sql('delete from rate_limits where scope_id = $1'), [platform.first.organizationId])
  })

  test('the list is of what the project can call, and pages both ways', async () => {
    const id = await newProject()
    await ask('POST', `/projects/${id}/model_permissions`, { mode: 'deny_list', model_ids: [model] })
    const { rateLimits } = client().admin.organization.projects
    const all = (await everything(rateLimits.listRateLimits(id, { limit: 2 }))).map(row => row.model)
    expect(all).toContain('*')
    expect(all).toContain('all-minilm-l6-v2')
    expect(all).not.toContain(model)
    const before = await ask('GET', `/projects/${id}/rate_limits?limit=2&before=rl-${all[3]}`)
    expect(before.json.data.map((row: { model: string }) => row.model)).toEqual(all.slice(1, 3))
    expect(before.json.has_more).toBe(true)
    expect((await ask('GET', `/projects/${id}/rate_limits?after=rl-nothing`)).json.data).toEqual([])
    expect((await ask('GET', `/projects/${id}/rate_limits?after=a&before=b`)).status).toBe(400)
  })
})

describe('model permissions', () => {
  test('allow, deny and clear through the SDK, each audited and told to the nodes', async () => {
    const id = await newProject()
    const { modelPermissions } = client().admin.organization.projects
    expect(await modelPermissions.retrieve(id)).toMatchObject({ mode: 'deny_list', model_ids: [] })
    const allow = { mode: 'allow_list' as const, model_ids: ['tinyllama-1.1b-chat', 'not-here-yet'] }
    expect(await modelPermissions.update(id, allow)).toEqual({ object: 'project.model_permissions', ...allow })
    expect(await modelPermissions.retrieve(id)).toMatchObject(allow)
    expect((await lastAudit())['project.updated']).toEqual({ id, changes_requested: { model_permissions: allow } })
    expect(await lastEvent()).toEqual(['project', id])
    expect(await modelPermissions.delete(id)).toEqual({ object: 'project.model_permissions.deleted', deleted: true })
    expect(await modelPermissions.delete(id)).toMatchObject({ deleted: false })
    expect(await modelPermissions.retrieve(id)).toMatchObject({ mode: 'deny_list', model_ids: [] })
  })

  test('an alias is refused, since it may stand for another model tomorrow', async () => {
    const alias = { alias: 'nickname', model: 'tinyllama-1.1b-chat' }
    await platform.send(platform.first.adminKey, 'POST', '/v1/platform/model_aliases', alias)
    const body = { mode: 'deny_list', model_ids: ['other', 'nickname'] }
    const { status, json } = await ask('POST', `/projects/${await newProject()}/model_permissions`, body)
    expect([status, json.error.param]).toEqual([400, 'model_ids[1]'])
    expect(json.error.message).toContain('tinyllama-1.1b-chat')
  })
})

test('hosted tools are enabled until somebody disables them, one by one', async () => {
  const id = await newProject()
  const { hostedToolPermissions } = client().admin.organization.projects
  const all = {
    file_search: { enabled: true },
    web_search: { enabled: true },
    image_generation: { enabled: true },
    mcp: { enabled: true },
    code_interpreter: { enabled: true },
  }
  expect(await hostedToolPermissions.retrieve(id)).toEqual(all)
  await hostedToolPermissions.update(id, { web_search: { enabled: false }, mcp: null })
  const changed = await hostedToolPermissions.update(id, { mcp: { enabled: false } })
  expect(changed).toEqual({ ...all, web_search: { enabled: false }, mcp: { enabled: false } })
  expect((await lastAudit())['project.updated'].changes_requested).toEqual({ hosted_tool_permissions: { mcp: false } })
  expect(await lastEvent()).toEqual(['project', id])
  expect(await hostedToolPermissions.update(id, { web_search: { enabled: true } })).toMatchObject({
    web_search: { enabled: true },
    mcp: { enabled: false },
  })
})

test('data retention of the organization and of a project', async () => {
  const id = await newProject()
  const { dataRetention, projects } = client().admin.organization
  expect(await dataRetention.retrieve()).toEqual({ object: 'organization.data_retention', type: 'zero_data_retention' })
  await dataRetention.update({ retention_type: 'modified_abuse_monitoring' })
  expect(await dataRetention.retrieve()).toMatchObject({ type: 'modified_abuse_monitoring' })
  expect(await lastAudit()).toMatchObject({
    type: 'organization.updated',
    'organization.updated': {
      id: platform.first.organizationId,
      changes_requested: { data_retention: 'modified_abuse_monitoring' },
    },
  })
  expect(await projects.dataRetention.retrieve(id)).toMatchObject({ type: 'organization_default' })
  expect(await projects.dataRetention.update(id, { retention_type: 'none' })).toEqual({
    object: 'project.data_retention',
    type: 'none',
  })
  expect(await projects.dataRetention.retrieve(id)).toMatchObject({ type: 'none' })
  expect((await ask('POST', '/data_retention', { retention_type: 'organization_default' })).status).toBe(400)
  expect((await theirs('GET', '/data_retention')).json.type).toBe('zero_data_retention')
})

describe('spend limits', () => {
  const limit = { threshold_amount: 5_000, currency: 'USD', interval: 'month' } as const

  test('of the organization and of a project, which say that they are enforced', async () => {
    const id = await newProject()
    const { spendLimit, projects } = client().admin.organization
    await expect(spendLimit.retrieve()).rejects.toBeInstanceOf(OpenAI.NotFoundError)
    const set = { object: 'organization.spend_limit', ...limit, enforcement: { status: 'enforcing' } }
    expect(await spendLimit.update(limit)).toEqual(set)
    expect(await spendLimit.retrieve()).toEqual(set)
    expect((await lastAudit())['organization.updated'].changes_requested).toEqual({ spend_limit: limit })
    await expect(projects.spendLimit.retrieve(id)).rejects.toThrow('none is set')
    expect(await projects.spendLimit.update(id, { ...limit, threshold_amount: 1 })).toMatchObject({
      object: 'project.spend_limit',
      threshold_amount: 1,
    })
    expect(await projects.spendLimit.delete(id)).toEqual({ object: 'project.spend_limit.deleted', deleted: true })
    expect(await projects.spendLimit.delete(id)).toMatchObject({ deleted: false })
    expect((await lastAudit())['project.updated']).toEqual({ id, changes_requested: { spend_limit: null } })
    expect(await spendLimit.delete()).toEqual({ object: 'organization.spend_limit.deleted', deleted: true })
  })

  test('what is spent this month stands beside them, and the cap of the usage tier', async () => {
    const id = await newProject()
    const none = { limit_usd: null, spent_usd: '0.00', reserved_usd: '0.00', remaining_usd: null }
    expect((await ask('GET', '/spend')).json).toMatchObject({ ...none, usage_tier_cap_usd: null })
    expect((await ask('POST', '/usage_tier', { usage_tier: 'free' })).status).toBe(200)
    const capped = { ...none, usage_tier_cap_usd: '100.00', remaining_usd: '100.00' }
    expect((await ask('GET', '/spend')).json).toMatchObject(capped)
    await ask('POST', '/spend_limit', limit)
    expect((await ask('GET', '/spend')).json).toMatchObject({ ...capped, limit_usd: '50.00', remaining_usd: '50.00' })
    expect((await ask('GET', `/projects/${id}/spend`)).json).toMatchObject(none)
    await ask('DELETE', '/spend_limit')
    await ask('POST', '/usage_tier', { usage_tier: null })
  })

  test.each([{ threshold_amount: 0 }, { threshold_amount: 1.5 }, { currency: 'EUR' }, { interval: 'day' }, { cap: 1 }])(
    '%j is refused',
    async wrong => {
      const { status, json } = await ask('POST', '/spend_limit', { ...limit, ...wrong })
      expect([status, json.error.param]).toEqual([400, Object.keys(wrong)[0]])
    },
  )
})

describe('spend alerts', () => {
  const alert = (cents: number) => ({
    threshold_amount: cents,
    currency: 'USD' as const,
    interval: 'month' as const,
    notification_channel: { type: 'email' as const, recipients: ['finance@example.com'] },
  })

  test('of the organization, through the SDK', async () => {
    const { spendAlerts } = client().admin.organization
    const made = await spendAlerts.create(alert(100))
    expect(made).toMatchObject({ object: 'organization.spend_alert', threshold_amount: 100, currency: 'USD' })
    expect(made.notification_channel).toEqual({
      type: 'email',
      recipients: ['finance@example.com'],
      subject_prefix: null,
    })
    const channel = { type: 'email' as const, recipients: ['a@example.com', 'b@example.com'], subject_prefix: '[AI]' }
    const changed = await spendAlerts.update(made.id, { ...alert(200), notification_channel: channel })
    expect(changed).toMatchObject({ id: made.id, threshold_amount: 200, notification_channel: channel })
    expect(await spendAlerts.retrieve(made.id)).toEqual(changed)
    expect((await lastAudit())['organization.updated'].changes_requested.spend_alert).toMatchObject({ id: made.id })
    expect(await spendAlerts.delete(made.id)).toEqual({
      id: made.id,
      object: 'organization.spend_alert.deleted',
      deleted: true,
    })
    await expect(spendAlerts.retrieve(made.id)).rejects.toBeInstanceOf(OpenAI.NotFoundError)
  })

  test('of a project: pages forwards and backwards, in both orders', async () => {
    const id = await newProject()
    const { spendAlerts } = client().admin.organization.projects
    for (const cents of [1, 2, 3, 4, 5]) await spendAlerts.create(id, alert(cents))
    const all = await everything(spendAlerts.list(id, { limit: 2 }))
    expect(all.map(row => row.threshold_amount)).toEqual([1, 2, 3, 4, 5])
    const pageOf = async (query: string) => (await ask('GET', `/projects/${id}/spend_alerts?${query}`)).json
    const fifth = await pageOf(`limit=2&before=${all[4]?.id}`)
    expect(fifth.data.map((row: { threshold_amount: number }) => row.threshold_amount)).toEqual([3, 4])
    expect([fifth.first_id, fifth.last_id, fifth.has_more]).toEqual([all[2]?.id, all[3]?.id, true])
    const down = await pageOf(`limit=2&order=desc&before=${all[3]?.id}`)
    expect([down.data[0].id, down.data.length, down.has_more]).toEqual([all[4]?.id, 1, false])
    expect(await spendAlerts.retrieve(all[0]?.id ?? '', { project_id: id })).toEqual(all[0])
    expect(await spendAlerts.delete(all[0]?.id ?? '', { project_id: id })).toMatchObject({ deleted: true })
    expect((await ask('GET', '/spend_alerts')).json.data).toEqual([])
  })

  test.each([
    [{ recipients: [] }, 'notification_channel.recipients'],
    [{ recipients: ['nobody'] }, 'notification_channel.recipients[0]'],
    [{ subject_prefix: 'a\r\nBcc: everyone@example.com' }, 'notification_channel.subject_prefix'],
    [{ type: 'sms' }, 'notification_channel.type'],
  ])('%j is refused', async (wrong, param) => {
    const body = { ...alert(1), notification_channel: { ...alert(1).notification_channel, ...wrong } }
    const { status, json } = await ask('POST', '/spend_alerts', body)
    expect([status, json.error.param]).toEqual([400, param])
  })
})

describe('two organizations', () => {
  const bodies = {
    model_permissions: { mode: 'deny_list', model_ids: [] },
    hosted_tool_permissions: {},
    data_retention: { retention_type: 'none' },
    spend_limit: { threshold_amount: 1, currency: 'USD', interval: 'month' },
    'rate_limits/rl-*': { max_requests_per_1_minute: 1 },
  }

  test.each(Object.entries(bodies))('the %s of a foreign project look absent', async (setting, body) => {
    const path = `/projects/${platform.projectId}/${setting}`
    expect((await theirs('POST', path, body)).status).toBe(404)
    if (!setting.startsWith('rate')) expect((await theirs('GET', path)).status).toBe(404)
  })

  test('so do its alerts', async () => {
    const body = {
      threshold_amount: 1,
      currency: 'USD',
      interval: 'month',
      notification_channel: { type: 'email', recipients: ['a@example.com'] },
    }
    const { json } = await ask('POST', '/spend_alerts', body)
    for (const [method, sent] of [['GET'], ['POST', body], ['DELETE']] as const) {
      expect((await theirs(method, `/spend_alerts/${json.id}`, sent)).status).toBe(404)
    }
    expect((await theirs('GET', `/spend_alerts?after=${json.id}`)).json.data).toEqual([])
    expect((await theirs('GET', `/projects/${platform.projectId}/spend_alerts`)).status).toBe(404)
    // Nor through another scope of the same organization
    expect((await ask('GET', `/projects/${platform.projectId}/spend_alerts/${json.id}`)).status).toBe(404)
  })
})

test('an archived project is kept as it was: its settings can be read and not changed', async () => {
  const id = await newProject()
  await ask('POST', `/projects/${id}/archive`)
  const changes = [
    ['POST', '', { name: 'new' }],
    ['POST', '/model_permissions', { mode: 'deny_list', model_ids: [] }],
    ['DELETE', '/model_permissions', undefined],
    ['POST', '/hosted_tool_permissions', {}],
    ['POST', '/data_retention', { retention_type: 'none' }],
    ['POST', '/spend_limit', { threshold_amount: 1, currency: 'USD', interval: 'month' }],
    ['DELETE', '/spend_limit', undefined],
    ['POST', '/rate_limits/rl-*', { max_requests_per_1_minute: 1 }],
    ['POST', '/certificates/activate', { certificate_ids: ['cert_nothing'] }],
  ] as const
  for (const [method, path, body] of changes) {
    const { status, json } = await ask(method, `/projects/${id}${path}`, body)
    expect([method, path, status, json.error.message]).toEqual([
      method,
      path,
      409,
      expect.stringContaining('is archived and cannot be changed'),
    ])
  }
  for (const path of ['', '/model_permissions', '/hosted_tool_permissions', '/data_retention', '/rate_limits']) {
    expect((await ask('GET', `/projects/${id}${path}`)).status).toBe(200)
  }
  const listed = async (query: string) =>
    (await ask('GET', `/projects?limit=100${query}`)).json.data.map((row: { id: string }) => row.id)
  expect(await listed('')).not.toContain(id)
  expect(await listed('&include_archived=true')).toContain(id)
})

describe('what an operator changes is in the audit log, without its secrets', () => {
  const platformAsk = (method: string, path: string, body?: unknown) =>
    platform.send(platform.first.adminKey, method, `/v1/platform${path}`, body)
  const requested = async () => (await lastAudit())['organization.updated'].changes_requested

  test('credit, providers, models, prices and aliases', async () => {
    const { json: grant } = await ask('POST', '/credit_grants', {
      amount_usd: '3',
      reference: 'audited',
      note: 'hello',
    })
    const credit_grant = {
      id: grant.id,
      kind: 'purchased',
      amount_usd: '3.00',
      expires_at: null,
      reference: 'audited',
      note: 'hello',
    }
    expect(await requested()).toEqual({ credit_grant })

    const secret = 'sk-upstream-0123456789-audited'
    const provider = { name: 'audited', base_url: 'http://127.0.0.1:9/v1', api_key: secret, models: [{ name: 'am' }] }
    const { json: made } = await platformAsk('POST', '/providers', provider)
    expect(await requested()).toEqual({
      provider: {
        id: made.id,
        name: 'audited',
        base_url: provider.base_url,
        credential_replaced: true,
        models: ['am'],
      },
    })
    expect(await lastEvent()).toEqual(['catalogue', ''])

    const price = { input_usd_per_million: '1', output_usd_per_million: '2' }
    await platformAsk('POST', '/models/am/price', price)
    expect(await requested()).toEqual({ model_price: { model: 'am', ...price } })
    const routes = [{ provider: 'audited', upstream_model: 'x' }]
    await platformAsk('POST', '/models/am2', { routes })
    expect(await requested()).toEqual({ model: { name: 'am2', routes } })
    await platformAsk('POST', '/model_aliases', { alias: 'aa', model: 'am2' })
    expect(await requested()).toEqual({ model_alias: { alias: 'aa', model: 'am2' } })
    await platformAsk('DELETE', '/model_aliases/aa')
    expect(await requested()).toEqual({ model_alias: { alias: 'aa', deleted: true } })
    await platformAsk('DELETE', '/models/am2')
    expect(await requested()).toEqual({ model: { name: 'am2', deleted: true } })
    await platformAsk('DELETE', '/providers/audited')
    expect(await requested()).toEqual({ provider: { id: made.id, name: 'audited', deleted: true } })

    const entries = await platform.database.query(sql('select entry from audit_logs'))
    expect(JSON.stringify(entries)).not.toContain(secret)
  })

  test('what was refused leaves no entry', async () => {
    const before = (await lastAudit()).id
    await ask('POST', '/credit_grants', { amount_usd: '3', reference: 'audited' })
    await platformAsk('DELETE', '/models/nothing')
    await ask('POST', `/projects/${platform.projectId}/rate_limits/rl-nothing`, { max_requests_per_1_minute: 1 })
    expect((await lastAudit()).id).toBe(before)
  })
})
