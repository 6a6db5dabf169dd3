// GET /v1/me: what a key is and may do, told to whoever holds it.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeKey } from '#core/key-format.ts'
import { memoryCounters } from '#storage/counters.ts'
import { sql } from '#storage/database.ts'
import { send, serve, type TestPlatform, testParts, testPlatform } from './support/platform.ts'

let platform: TestPlatform
beforeAll(async () => {
  platform = await testPlatform()
})
afterAll(() => platform?.stop())

const ask = (method: string, path: string, body?: unknown) => platform.send(platform.first.adminKey, method, path, body)
const project = (rest = '') => `/v1/organization/projects/${platform.projectId}${rest}`
const newKey = async (body: object = {}) => (await ask('POST', project('/api_keys'), { name: 'mine', ...body })).json
const me = (key: string) => platform.send(key, 'GET', '/v1/me')
const run = (text: string, values: readonly unknown[] = []) => platform.database.query(sql(text), values)

test('a project key learns what it is, whose, and what it may do', async () => {
  const key = await newKey({ scopes: ['model.request.embeddings'], expires_in_seconds: 3_600 })
  const { status, json } = await me(key.value)
  expect([status, json]).toEqual([
    200,
    {
      object: 'key',
      id: key.id,
      kind: 'project',
      redacted_value: key.redacted_value,
      organization: { id: platform.first.organizationId, name: expect.any(String) },
      project: { id: platform.projectId, name: 'Default project' },
      owner: { type: 'user', id: expect.stringMatching(/^user-/), name: 'Owner', email: null },
      permissions: 'restricted',
      scopes: ['model.request.embeddings'],
      effective_scopes: ['model.request.embeddings'],
      expires_at: key.expires_at,
      client_address: '127.0.0.1',
      restrictions: [],
      client_certificate_required: false,
      model_permissions: null,
      allowed_models: [],
      rate_limits: [{ model: '*', max_requests_per_1_minute: 1_000, max_tokens_per_1_minute: 100_000 }],
      billing_active: true,
      credit_available: true,
      spend_limits: [],
    },
  ])
})

test('an admin key has no project, and needs no scope to ask', async () => {
  const { json } = await me(platform.first.adminKey)
  expect(json).toMatchObject({ kind: 'admin', project: null, permissions: 'all', scopes: [] })
  expect(json.effective_scopes).toContain('api.organization.admin_api_keys.write')
})

test('permissions are All, read only or restricted; the scopes in force are those that the owner holds too', async () => {
  expect((await me((await newKey()).value)).json.permissions).toBe('all')
  const reader = await me((await newKey({ permissions: 'read_only' })).value)
  expect([reader.json.permissions, reader.json.scopes]).toEqual(['read_only', ['api.all.read']])
  expect(reader.json.effective_scopes).not.toContain('model.request')
})

test('what restricts it is told: addresses, models, limits', async () => {
  const key = await newKey({ allowed_cidrs: ['127.0.0.0/8'], allowed_models: ['m'] })
  await ask('POST', project('/rate_limits/rl-tinyllama-1.1b-chat'), { max_requests_per_1_minute: 7 })
  await run("insert into model_permissions (project_id, mode, model_ids) values ($1, 'deny_list', '{gpt}')", [
    platform.projectId,
  ])
  const { json } = await me(key.value)
  expect(json.restrictions).toEqual([{ where: 'key', allowed_cidrs: ['127.0.0.0/8'], allowed_origins: [] }])
  expect(json.model_permissions).toEqual({ mode: 'deny_list', model_ids: ['gpt'] })
  expect(json.allowed_models).toEqual(['m'])
  expect(json.rate_limits).toContainEqual({
    model: 'tinyllama-1.1b-chat',
    max_requests_per_1_minute: 7,
    max_tokens_per_1_minute: 100_000,
  })
})

test('what limits its spending is told: its budget, and the limits of its project and organization', async () => {
  const key = await newKey({ budget: { limit_usd: '12.5', period: 'total' } })
  const limit = { threshold_amount: 5_000, currency: 'USD', interval: 'month' }
  await ask('POST', project('/spend_limit'), limit)
  await ask('POST', '/v1/organization/spend_limit', { ...limit, threshold_amount: 1 })
  await run(
    `insert into spend_windows (scope_id, period, starts_at, spent_nano_usd)
       values ($1, 'month', window_start('month', now()), 10000000)`,
    [platform.first.organizationId],
  )
  const { spend_limits: limits } = (await me(key.value)).json
  expect(limits).toMatchObject([
    { where: 'key', period: 'total', limit_usd: '12.50', spent_usd: '0.00', reached: false, resets_at: null },
    { where: 'project', period: 'month', limit_usd: '50.00', reached: false, resets_at: expect.any(Number) },
    { where: 'organization', period: 'month', limit_usd: '0.01', spent_usd: '0.01', reached: true },
  ])
  const rehearsal = await newKey({ test: true })
  expect((await me(rehearsal.value)).json.spend_limits).toEqual([])
  await ask('DELETE', '/v1/organization/spend_limit')
  await ask('DELETE', project('/spend_limit'))
})

test('a client secret, which anybody may hold who opens a page, learns nothing of its owner, of other lists and of money', async () => {
  const cidrs = ['127.0.0.0/8', '192.0.2.0/24']
  await ask('POST', project('/key_policy'), { allowed_cidrs: cidrs })
  const key = await newKey({ budget: { limit_usd: '5', period: 'month' } })
  const { json: secret } = await platform.send(key.value, 'POST', '/v1/client_secrets', {
    allowed_cidrs: ['127.0.0.1'],
  })
  expect((await me(secret.value)).json).toMatchObject({
    id: secret.id,
    owner: null,
    restrictions: [{ where: 'key', allowed_cidrs: ['127.0.0.1/32'] }],
    spend_limits: [],
    effective_scopes: expect.arrayContaining(['model.request']),
  })
  expect((await me(key.value)).json).toMatchObject({
    owner: { name: 'Owner' },
    restrictions: [{ where: 'project', allowed_cidrs: cidrs }],
    spend_limits: [{ where: 'key', limit_usd: '5.00' }],
  })
  await ask('POST', project('/key_policy'), { allowed_cidrs: [] })
})

test('without credit it says so, except to a test key, whose calls are free', async () => {
  const theirs = (method: string, path: string, body?: unknown) =>
    platform.send(platform.other.adminKey, method, path, body)
  const keys = `/v1/organization/projects/${platform.other.projectId}/api_keys`
  const { value } = (await theirs('POST', keys, { name: 'poor' })).json
  const rehearsal = (await theirs('POST', keys, { name: 'rehearsal', test: true })).json
  expect((await me(value)).json).toMatchObject({
    organization: { id: platform.other.organizationId, name: 'Another one' },
    billing_active: false,
    credit_available: false,
  })
  expect((await me(rehearsal.value)).json).toMatchObject({ kind: 'test', credit_available: true })
})

test.each([
  ['revoked_at = now()', 'has been revoked', 'invalid_api_key'],
  ["expires_at = now() - interval '1 hour'", 'expired at', 'invalid_api_key'],
  ['disabled_at = now()', 'is disabled', 'key_disabled'],
  ["allowed_cidrs = '{192.0.2.0/24}'", 'address list of the key', 'ip_not_authorized'],
])('a key with %s learns the reason instead', async (change, message, code) => {
  const key = await newKey()
  await run(`update api_keys set ${change} where id = $1`, [key.id])
  const { status, json } = await me(key.value)
  expect([status, json.error.code, json.error.message]).toEqual([401, code, expect.stringContaining(message)])
})

test('headers that name another organization or project are told, as where models are called', async () => {
  const { value } = await newKey()
  const named = async (headers: Record<string, string>) => {
    const response = await fetch(`${platform.url}/v1/me`, { headers: { authorization: `Bearer ${value}`, ...headers } })
    // The envelope, which every error has; or no error
    return ((await response.json()) as { error?: { code: string } }).error?.code
  }
  expect(await named({ 'openai-organization': platform.first.organizationId })).toBeUndefined()
  expect(await named({ 'openai-organization': 'org-other' })).toBe('mismatched_organization')
  expect(await named({ 'openai-project': 'proj_other' })).toBe('mismatched_project')
})

test('it costs nothing and is counted nowhere', async () => {
  const before = await run('select count(*) from usage_events union all select count(*) from ledger_transactions')
  await me((await newKey()).value)
  expect(await run('select count(*) from usage_events union all select count(*) from ledger_transactions')).toEqual(
    before,
  )
})

test('keys that nobody knows can be tried so many times a minute from one address, and no more', async () => {
  const { database, secrets, localModels } = platform
  const counters = memoryCounters(() => performance.now())
  const parts = testParts({ database, secrets, localModels, logged: [] })
  const server = await serve({ ...parts, counters, unknownKeysPerMinuteMax: 5 })
  try {
    const known = () => send(server.url, platform.first.projectKey, 'GET', '/v1/me')
    expect((await known()).status).toBe(200)
    const codes: number[] = []
    for (let turn = 0; turn < 7; turn += 1) {
      const key = makeKey('project', bytes => new Uint8Array(bytes).fill(turn + 100))
      codes.push((await send(server.url, key, 'GET', '/v1/me')).status)
    }
    expect(codes).toEqual([401, 401, 401, 401, 401, 429, 429])
    // Over it, the database is asked for keys alone that were good before
    expect((await known()).status).toBe(200)
    const { value } = await newKey()
    expect((await send(server.url, value, 'GET', '/v1/me')).status).toBe(429)
  } finally {
    await server.stop()
  }
})
