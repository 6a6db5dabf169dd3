// One call when others may hold a key: it dies with its streams, is replaced as asked, and what it did is told.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sql } from '#storage/database.ts'
import { Books } from './support/books.ts'
import { startGateway, type TestGateway } from './support/gateway.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'
import { readAll } from './support/streams.ts'
import { insertUsage } from './support/usage-events.ts'

describe('the report', () => {
  let platform: TestPlatform
  beforeAll(async () => {
    platform = await testPlatform()
  })
  afterAll(() => platform?.stop())

  const ask = (method: string, path: string, body?: unknown) =>
    platform.send(platform.first.adminKey, method, path, body)
  const keys = (rest = '') => `/v1/organization/projects/${platform.projectId}/api_keys${rest}`
  const newKey = async (body: object = {}) => (await ask('POST', keys(), { name: 'lost', ...body })).json
  const compromised = (id: string, body: object = {}) => ask('POST', keys(`/${id}/compromised`), body)
  const run = (text: string, values: readonly unknown[]) => platform.database.query(sql(text), values)
  const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000)

  test('tells the calls, models, addresses and cost of the last hours, and nothing older or of others', async () => {
    const key = await newKey()
    const other = await newKey()
    const use = (hours: number, more: object) =>
      insertUsage(platform.database, { apiKeyId: key.id, at: hoursAgo(hours), chargedNanoUsd: 1_500_000n, ...more })
    await use(3, { model: 'gpt', address: '198.51.100.7' })
    await use(2, { model: 'gpt', address: '198.51.100.7' })
    await use(1, { model: 'llama', address: '2001:db8::9' })
    await use(1, { model: 'llama', address: null })
    await use(30, { model: 'old', address: '192.0.2.1' })
    await insertUsage(platform.database, { apiKeyId: other.id, at: hoursAgo(1), model: 'theirs' })
    const { status, json } = await compromised(key.id)
    expect([status, json.replacement, json.woken_backup_id]).toEqual([200, null, null])
    const { activity } = json
    expect(activity).toMatchObject({ calls: 4, cost_usd: '0.006' })
    expect(activity.to - activity.from).toBe(24 * 3_600)
    expect(activity.last_used_at - activity.first_used_at).toBe(2 * 3_600)
    const models = activity.models.map((row: Record<string, unknown>) => [row.model, row.calls, row.input_tokens])
    expect(models).toEqual([
      ['gpt', 2, 20],
      ['llama', 2, 20],
    ])
    const addresses = activity.addresses.map((row: Record<string, unknown>) => [row.address, row.calls, row.cost_usd])
    expect(addresses).toEqual([
      ['198.51.100.7', 2, '0.003'],
      ['2001:db8::9', 1, '0.0015'],
      [null, 1, '0.0015'],
    ])
  })

  test('reaches as far back as asked, and counts what the client secrets of the key did', async () => {
    const key = await newKey({ scopes: ['model.request', 'api.client_secrets.write'] })
    const secret = (await platform.send(key.value, 'POST', '/v1/client_secrets', {})).json
    await insertUsage(platform.database, { apiKeyId: secret.id, at: hoursAgo(40), address: '203.0.113.5' })
    const { json } = await compromised(key.id, { window_hours: 48 })
    expect(json.activity).toMatchObject({ calls: 1, addresses: [{ address: '203.0.113.5' }] })
  })

  test('comes with a replacement of the old settings but for what was asked, on the same budget', async () => {
    const key = await newKey({ scopes: ['model.request', 'api.files.read'], allowed_cidrs: ['192.0.2.0/24'] })
    const replacement = { scopes: ['model.request.embeddings'], expires_in_seconds: 3_600 }
    const { json } = await compromised(key.id, { replacement })
    expect(json.replacement).toMatchObject({
      name: 'lost',
      scopes: ['model.request.embeddings'],
      allowed_cidrs: ['192.0.2.0/24'],
      rotated_from: key.id,
      value: expect.stringMatching(/^sk-kh-proj-/),
      status: 'active',
    })
    expect(json.replacement.expires_at - json.revoked_at).toBeCloseTo(3_600, -1)
    const rows = await run('select budget_key_id from api_keys where id = $1', [json.replacement.id])
    expect(rows).toEqual([{ budget_key_id: key.id }])
    const plain = await newKey()
    expect((await compromised(plain.id, { replacement: {} })).json.replacement).toMatchObject({ scopes: [] })
  })

  test('revokes once, with its reason in the books, the audit log and the auth events', async () => {
    const key = await newKey()
    const { json } = await compromised(key.id, { replacement: {} })
    const path = keys(`/${key.id}`)
    expect([(await ask('GET', path)).status, (await compromised(key.id)).status]).toEqual([404, 404])
    const refused = await platform.send(key.value, 'POST', '/v1/client_secrets', {})
    expect([refused.status, refused.json.error.message]).toEqual([401, expect.stringContaining('has been revoked')])
    expect(await run('select revoke_reason from api_keys where id = $1', [key.id])).toEqual([
      { revoke_reason: 'compromised' },
    ])
    const logged = await ask('GET', `/v1/organization/audit_logs?resource_ids=${key.id},${json.replacement.id}`)
    const entries = logged.json.data.map((entry: { type: string }) => entry.type)
    expect(entries).toEqual(['api_key.created', 'api_key.deleted', 'api_key.created'])
    expect(logged.json.data[1]['api_key.deleted']).toEqual({ id: key.id, data: { reason: 'compromised' } })
    const events = await run(
      "select subject_id from auth_events where subject_kind = 'api_key' order by id desc limit 2",
      [],
    )
    expect(events).toEqual([{ subject_id: json.replacement.id }, { subject_id: key.id }])
  })

  test('names the backup key that wakes', async () => {
    const key = await newKey()
    const backup = (await ask('POST', keys(`/${key.id}/backup`), {})).json
    expect((await compromised(key.id)).json.woken_backup_id).toBe(backup.id)
    expect((await ask('GET', keys(`/${backup.id}`))).json.status).toBe('active')
  })

  test('replaces neither a client secret nor what has expired without a new date, but revokes both', async () => {
    const key = await newKey({ scopes: ['model.request', 'api.client_secrets.write'] })
    const secret = (await platform.send(key.value, 'POST', '/v1/client_secrets', {})).json
    expect((await compromised(secret.id, { replacement: {} })).status).toBe(409)
    expect((await compromised(secret.id)).status).toBe(200)
    await run("update api_keys set expires_at = now() - interval '1 minute' where id = $1", [key.id])
    const refused = await compromised(key.id, { replacement: {} })
    expect([refused.status, refused.json.error.message]).toEqual([409, expect.stringContaining('expires_in_seconds')])
    const { json } = await compromised(key.id, { replacement: { expires_in_seconds: 60 } })
    expect(json.replacement.status).toBe('active')
  })

  test('is nothing that another organization can ask for', async () => {
    const key = await newKey()
    const { status } = await platform.send(platform.other.adminKey, 'POST', keys(`/${key.id}/compromised`), {})
    expect(status).toBe(404)
    expect((await ask('GET', keys(`/${key.id}`))).json.status).toBe('active')
  })
})

describe('a running stream', () => {
  let gateway: TestGateway
  let books: Books
  beforeAll(async () => {
    gateway = await startGateway({ cases: { long: { outputTokens: 3_000, chunkIntervalMs: 10 } } })
    books = await Books.open(gateway.keyhouse.dataDir)
  })
  afterAll(async () => {
    await books?.close()
    await gateway?.stop()
  })

  test('of a compromised key is cut within a second, and its usage names the address that it went to', async () => {
    const key = await gateway.newKey()
    const headers = { authorization: `Bearer ${key.value}` }
    const stream = await gateway.chat('long', { stream: true, max_tokens: 3_000 }, { headers })
    const reading = readAll(stream)
    const beganAtMs = performance.now()
    const report = await gateway.admin<{ replacement: { value: string } }>('POST', `${key.path}/compromised`, {
      replacement: {},
    })
    const { text } = await reading
    const tookMs = performance.now() - beganAtMs
    console.log(`cut ${tookMs.toFixed(0)} ms after the report was sent`)
    expect(tookMs).toBeLessThan(1_000)
    expect(text).not.toContain('[DONE]')
    expect((await gateway.chat('plain', {}, { headers })).status).toBe(401)
    const replaced = { authorization: `Bearer ${report.replacement.value}` }
    expect((await gateway.chat('plain', { max_tokens: 5 }, { headers: replaced })).status).toBe(200)
    await expect
      .poll(() =>
        books.query('select outcome, host(client_address) as address from usage_events where api_key_id = $1', [
          key.id,
        ]),
      )
      .toEqual([{ outcome: 'revoked', address: '127.0.0.1' }])
  })

  test('that its client leaves names the address all the same', async () => {
    const key = await gateway.newKey()
    const leaving = new AbortController()
    const init = { headers: { authorization: `Bearer ${key.value}` }, signal: leaving.signal }
    const stream = await gateway.chat('long', { stream: true, max_tokens: 3_000 }, init)
    await stream.body?.getReader().read()
    leaving.abort()
    await expect
      .poll(
        () =>
          books.query('select outcome, host(client_address) as address from usage_events where api_key_id = $1', [
            key.id,
          ]),
        { timeout: 5_000 },
      )
      .toEqual([{ outcome: 'client_left', address: '127.0.0.1' }])
  })
})
