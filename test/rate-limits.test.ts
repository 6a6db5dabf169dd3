/** Rate limits of organizations, projects and keys, and usage tiers, as the Administration API sets them. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '#storage/database.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

let platform: TestPlatform
let project = ''
let key = ''
const organization = '/v1/organization'

beforeAll(async () => {
  platform = await testPlatform()
})
afterAll(() => platform?.stop())
beforeEach(async () => {
  await platform.database.query(sql('delete from rate_limits'))
  await ask('POST', '/usage_tier', { usage_tier: null })
  project = `/projects/${platform.projectId}`
  key = `${project}/api_keys/${(await ask('POST', `${project}/api_keys`, { name: 'limited' })).json.id}`
})

const ask = (method: string, path: string, body?: unknown) =>
  platform.send(platform.first.adminKey, method, organization + path, body)
const theirs = (method: string, path: string, body?: unknown) =>
  platform.send(platform.other.adminKey, method, organization + path, body)
const lastAudit = async () => (await ask('GET', '/audit_logs?limit=1')).json.data[0]
const model = 'tinyllama-1.1b-chat'
const row = `/rate_limits/rl-${model}`
const rowOf = (json: { data: { model: string }[] }) => json.data.find(one => one.model === model)

describe("a key's limits", () => {
  test('are set, shown as they apply, and removed', async () => {
    await ask('POST', `${project}${row}`, { max_requests_per_1_minute: 50, max_requests_per_1_day: 400 })
    const set = { max_requests_per_1_minute: 5, max_tokens_per_1_day: 1_000, max_concurrent_requests: 2 }
    const { json } = await ask('POST', `${key}${row}`, set)
    const holds = { ...set, max_tokens_per_1_minute: 100_000, max_requests_per_1_day: 400 }
    expect(json).toMatchObject({ object: 'organization.project.api_key.rate_limit', id: `rl-${model}`, ...holds })
    expect(await lastAudit()).toMatchObject({
      type: 'rate_limit.updated',
      'rate_limit.updated': { id: `rl-${model}`, key_id: key.split('/').at(-1), changes_requested: set },
    })
    expect(rowOf((await ask('GET', `${key}/rate_limits`)).json)).toMatchObject(holds)
    expect((await ask('DELETE', `${key}${row}`)).json).toMatchObject({ id: `rl-${model}`, deleted: true })
    expect((await lastAudit()).type).toBe('rate_limit.deleted')
    expect(rowOf((await ask('GET', `${key}/rate_limits`)).json)).toMatchObject({ max_requests_per_1_minute: 50 })
    expect((await ask('DELETE', `${key}${row}`)).json.deleted).toBe(false)
  })

  test("cannot exceed the project's", async () => {
    await ask('POST', `${project}/rate_limits/rl-*`, { max_requests_per_1_minute: 50 })
    const { status, json } = await ask('POST', `${key}${row}`, { max_requests_per_1_minute: 51 })
    expect([status, json.error.param]).toEqual([400, 'max_requests_per_1_minute'])
    expect(json.error.message).toContain("more than the project's limit of 50")
  })

  test('are shared with the key that replaces it', async () => {
    await ask('POST', `${key}${row}`, { max_requests_per_1_minute: 5 })
    const { id } = (await ask('POST', `${key}/rotate`, {})).json
    const successor = `${project}/api_keys/${id}`
    expect(rowOf((await ask('GET', `${successor}/rate_limits`)).json)).toMatchObject({ max_requests_per_1_minute: 5 })
    await ask('POST', `${successor}${row}`, { max_requests_per_1_minute: 4 })
    expect(rowOf((await ask('GET', `${key}/rate_limits`)).json)).toMatchObject({ max_requests_per_1_minute: 4 })
  })
})

describe("an organization's limits", () => {
  test('are raised by the operator, above those of the settings, and hold for its projects', async () => {
    await ask('POST', row, { max_requests_per_1_minute: 9_000 })
    expect(rowOf((await ask('GET', '/rate_limits')).json)).toMatchObject({ max_requests_per_1_minute: 9_000 })
    expect(rowOf((await ask('GET', `${project}/rate_limits`)).json)).toMatchObject({ max_requests_per_1_minute: 9_000 })
    expect((await ask('POST', `${project}${row}`, { max_requests_per_1_minute: 9_000 })).status).toBe(200)
    expect((await ask('DELETE', row)).json).toEqual({
      object: 'organization.rate_limit.deleted',
      id: `rl-${model}`,
      deleted: true,
    })
  })

  test('are lowered by an owner, who cannot raise or remove them', async () => {
    expect((await theirs('POST', row, { max_requests_per_1_minute: 10 })).status).toBe(200)
    const raised = await theirs('POST', row, { max_requests_per_1_minute: 11 })
    expect([raised.status, raised.json.error.message]).toEqual([400, expect.stringContaining('Only the operator')])
    expect((await theirs('DELETE', row)).status).toBe(403)
  })

  test("that an owner has set never exceed a usage tier that was lowered since; the operator's do", async () => {
    const organization_id = platform.other.organizationId
    const tier = (usage_tier: string | null) => ask('POST', '/usage_tier', { organization_id, usage_tier })
    const holds = async () => {
      // Every row has the two limits a minute
      const { data } = (await theirs('GET', '/rate_limits')).json as { data: Record<string, unknown>[] }
      return data.find(limit => limit.model === model)?.max_requests_per_1_minute
    }
    await ask('DELETE', `${row}?organization_id=${organization_id}`)
    await tier('5')
    expect((await theirs('POST', row, { max_requests_per_1_minute: 8_000 })).status).toBe(200)
    expect(await holds()).toBe(8_000)
    await tier('1')
    expect(await holds()).toBe(1_000)
    await tier('5')
    expect(await holds()).toBe(8_000)
    await ask('POST', `${row}?organization_id=${organization_id}`, { max_requests_per_1_minute: 9_000 })
    expect(await holds()).toBe(9_000)
    await tier('1')
    expect(await holds()).toBe(9_000)
    await ask('DELETE', `${row}?organization_id=${organization_id}`)
    await tier(null)
  })

  test("of any organization are the operator's to set, and nobody else's", async () => {
    const query = `?organization_id=${platform.other.organizationId}`
    expect((await ask('POST', `${row}${query}`, { max_requests_per_1_minute: 5_000 })).status).toBe(200)
    expect(rowOf((await theirs('GET', '/rate_limits')).json)).toMatchObject({ max_requests_per_1_minute: 5_000 })
    expect(rowOf((await ask('GET', '/rate_limits')).json)).toMatchObject({ max_requests_per_1_minute: 1_000 })
    const own = (await ask('GET', `/rate_limits${query}`)).json
    expect(rowOf(own)).toMatchObject({ max_requests_per_1_minute: 5_000 })
    const foreign = `?organization_id=${platform.first.organizationId}`
    expect((await theirs('GET', `/rate_limits${foreign}`)).status).toBe(403)
    expect((await theirs('POST', `${row}${foreign}`, { max_requests_per_1_minute: 1 })).status).toBe(403)
    expect((await ask('GET', '/rate_limits?organization_id=org-nobody')).status).toBe(404)
  })
})

describe('usage tiers', () => {
  test('a tier is what holds where nothing was set, and says what the next one asks for', async () => {
    const { json } = await ask('POST', '/usage_tier', { usage_tier: '1' })
    expect(json).toMatchObject({
      usage_tier: '1',
      promotion: 'by_hand',
      monthly_cap_usd: '100.00',
      next: { usage_tier: '2', paid_usd: '50.00', days: 0, monthly_cap_usd: '500.00' },
    })
    expect((await ask('GET', '/usage_tier')).json).toEqual(json)
    expect(rowOf((await ask('GET', '/rate_limits')).json)).toMatchObject({ max_tokens_per_1_minute: 500_000 })
    await ask('POST', '/rate_limits/rl-*', { max_tokens_per_1_minute: 7 })
    expect(rowOf((await ask('GET', '/rate_limits')).json)).toMatchObject({ max_tokens_per_1_minute: 7 })
  })

  test("a row of all models does not raise an owner's limits of those that the tier limits more", async () => {
    const organization_id = platform.other.organizationId
    await ask('POST', '/usage_tier', { organization_id, usage_tier: '1' })
    // gpt-4o has 30,000 in this tier, and whatever has no row of its own 500,000
    const all = '/rate_limits/rl-*'
    expect((await theirs('POST', all, { max_tokens_per_1_minute: 30_001 })).status).toBe(400)
    expect((await theirs('POST', all, { max_tokens_per_1_minute: 30_000 })).status).toBe(200)
    expect((await theirs('POST', row, { max_tokens_per_1_minute: 30_001 })).status).toBe(400)
    await ask('POST', `${all}?organization_id=${organization_id}`, { max_tokens_per_1_minute: 900_000 })
    expect((await theirs('POST', all, { max_tokens_per_1_minute: 800_000 })).status).toBe(200)
    expect((await theirs('POST', all, { max_requests_per_1_minute: 501 })).status).toBe(400)
  })

  test("is the operator's to set, for any organization, with its monthly cap", async () => {
    const organization_id = platform.other.organizationId
    expect((await theirs('POST', '/usage_tier', { usage_tier: '5' })).status).toBe(403)
    await ask('POST', '/usage_tier', { organization_id, usage_tier: '2', promotion: 'automatic' })
    expect((await theirs('GET', '/usage_tier')).json).toMatchObject({ usage_tier: '2', promotion: 'automatic' })
    const rows = await platform.database.query(
      sql('select usage_cap_nano_usd::text as cap, usage_tier_by_hand as by_hand from organizations where id = $1'),
      [organization_id],
    )
    expect(rows).toEqual([{ cap: '500000000000', by_hand: false }])
    expect((await ask('POST', '/usage_tier', { organization_id: 'org-nobody', usage_tier: '2' })).status).toBe(404)
  })
})
