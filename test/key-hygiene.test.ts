// The hygiene report: one finding for each key and reason, with its proof and the step that mends it.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { sql } from '#storage/database.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'
import { insertUsage } from './support/usage-events.ts'

let platform: TestPlatform
beforeAll(async () => {
  platform = await testPlatform()
})
afterAll(() => platform?.stop())

const ask = (method: string, path: string, body?: unknown) => platform.send(platform.first.adminKey, method, path, body)
const project = (rest = '') => `/v1/organization/projects/${platform.projectId}${rest}`
const run = (text: string, values: readonly unknown[] = []) => platform.database.query(sql(text), values)
const report = (query = '') => ask('GET', `/v1/organization/key_hygiene${query}`)
/** Nothing to find, but that no limit was set for its project. */
const tidy = { name: 'tidy', scopes: ['model.request'], expires_in_seconds: 86_400 }
const newKey = async (body: object = {}) => (await ask('POST', project('/api_keys'), { ...tidy, ...body })).json

type Finding = { reason: string; key: { id: string }; proof: string; mend: string }
const findingsOf = async (id: string): Promise<Finding[]> =>
  (await report()).json.data.filter(({ key }: Finding) => key.id === id)
const reasonsOf = async (id: string) => (await findingsOf(id)).map(({ reason }) => reason)

test('a key that never expires, may do everything and has no limit has three findings', async () => {
  const { json: key } = await ask('POST', project('/api_keys'), { name: 'careless' })
  expect(await findingsOf(key.id)).toEqual([
    {
      object: 'organization.key_finding',
      reason: 'never_expires',
      key: {
        id: key.id,
        name: 'careless',
        redacted_value: key.redacted_value,
        kind: 'project',
        project: { id: platform.projectId, name: 'Default project' },
      },
      proof: 'it has no expiry',
      mend: `keyhouse keys update ${key.id} --expires 90d`,
    },
    expect.objectContaining({ reason: 'all_permissions', mend: expect.stringContaining('--scopes') }),
    expect.objectContaining({ reason: 'no_limit', mend: expect.stringContaining('keyhouse spend-limit set') }),
  ])
})

test('a tidy key in a project with a limit, of rates or of money, has none', async () => {
  const { json: made } = await ask('POST', '/v1/organization/projects', { name: 'Limited' })
  const path = `/v1/organization/projects/${made.id}`
  const { json: key } = await ask('POST', `${path}/api_keys`, tidy)
  expect(await reasonsOf(key.id)).toEqual(['no_limit'])
  await ask('POST', `${path}/rate_limits/rl-*`, { max_requests_per_1_minute: 5 })
  expect(await reasonsOf(key.id)).toEqual([])
  await run('delete from rate_limits where scope_id = $1', [made.id])
  await ask('POST', `${path}/spend_limit`, { threshold_amount: 5_000, currency: 'USD', interval: 'month' })
  expect(await reasonsOf(key.id)).toEqual([])
})

test('idle is 90 days without a call, since the last one or since it was made', async () => {
  const key = await newKey()
  const used = async (days: number) => {
    await run('update api_keys set last_used_at = now() - make_interval(days => $2) where id = $1', [key.id, days])
    return reasonsOf(key.id)
  }
  expect(await used(89)).toEqual(['no_limit'])
  expect(await used(90)).toEqual(['idle', 'no_limit'])
  await run("update api_keys set last_used_at = null, created_at = now() - interval '100 days' where id = $1", [key.id])
  const [idle] = await findingsOf(key.id)
  expect(idle).toMatchObject({ reason: 'idle', proof: expect.stringMatching(/^never used since \d{4}-/) })
})

test('many networks are ten of /24 or /48 within 30 days, however many addresses each has', async () => {
  const key = await newKey()
  const use = (address: string, days = 1) =>
    insertUsage(platform.database, { apiKeyId: key.id, at: new Date(Date.now() - days * 86_400_000), address })
  for (let host = 1; host <= 20; host += 1) await use(`192.0.2.${host}`)
  for (let net = 1; net <= 5; net += 1) await use(`198.51.${net}.7`)
  for (let net = 1; net <= 5; net += 1) await use(`2001:db8:${net}:ffff::1`, net === 5 ? 31 : 1)
  for (let part = 1; part <= 5; part += 1) await use(`2001:db8:1:${part}::1`)
  expect(await reasonsOf(key.id)).toEqual(['no_limit', 'many_networks'])
  await run("delete from usage_events where host(client_address) = '198.51.5.7'")
  expect(await reasonsOf(key.id)).toEqual(['no_limit'])
})

test('an owner who left is one finding, and so is a service account that is gone', async () => {
  const key = await newKey()
  const organization = platform.first.organizationId
  await run("insert into users (id, organization_id, name, role) values ('user-b', $1, 'Ben', 'reader')", [
    organization,
  ])
  await run("insert into project_users values ($1, 'user-b', 'member')", [platform.projectId])
  await run("update api_keys set owner_user_id = 'user-b' where id = $1", [key.id])
  expect(await reasonsOf(key.id)).toEqual(['no_limit'])
  await run("delete from project_users where user_id = 'user-b'")
  expect(await reasonsOf(key.id)).toEqual(['owner_left', 'no_limit'])
  const { json: account } = await ask('POST', project('/service_accounts'), { name: 'ci' })
  await run('update service_accounts set deleted_at = now() where id = $1', [account.id])
  expect(await reasonsOf(account.api_key.id)).toContain('owner_left')
})

test('a leaked key says where it was found; while it is disabled that is all there is to say', async () => {
  const key = await newKey({ scopes: [] })
  await platform.send(null, 'POST', '/v1/leaks', { key: key.value, url: 'https://paste.example/1' })
  const [leaked, ...more] = await findingsOf(key.id)
  expect(more).toEqual([])
  expect(leaked).toMatchObject({
    reason: 'leaked',
    proof: expect.stringMatching(/^reported on \d{4}-\d\d-\d\d: https:\/\/paste\.example\/1; it is disabled$/),
    mend: `keyhouse keys compromised ${key.id} --replace`,
  })
  await ask('POST', project(`/api_keys/${key.id}/enable`), {})
  expect(await reasonsOf(key.id)).toEqual(['leaked', 'all_permissions', 'no_limit'])
})

test('revoked and expired keys, client secrets and the keys of machines are in no report', async () => {
  const revoked = await newKey()
  await ask('DELETE', project(`/api_keys/${revoked.id}`))
  const expired = await newKey()
  await run("update api_keys set expires_at = now() - interval '1 s' where id = $1", [expired.id])
  const parent = await newKey({ scopes: ['model.request', 'api.client_secrets.write'] })
  const secret = (await platform.send(parent.value, 'POST', '/v1/client_secrets', {})).json
  const seen = new Set((await report()).json.data.map(({ key }: Finding) => key.id))
  for (const { id } of [revoked, expired, secret]) expect(seen.has(id)).toBe(false)
  expect(seen.has(parent.id)).toBe(true)
})

test('admin keys are in it for whoever may list them', async () => {
  const kinds = async (key: string) => {
    const { json } = await platform.send(key, 'GET', '/v1/organization/key_hygiene')
    return new Set(json.data.map((finding: { key: { kind: string } }) => finding.key.kind))
  }
  expect((await kinds(platform.first.adminKey)).has('admin')).toBe(true)
  const narrow = await ask('POST', '/v1/organization/admin_api_keys', { name: 'narrow' })
  await run("update api_keys set scopes = '{api.organization.projects.api_keys.read}' where id = $1", [narrow.json.id])
  expect((await kinds(narrow.json.value)).has('admin')).toBe(false)
})

test('pages follow one another until every key was looked at, and another organization sees its own only', async () => {
  const whole = (await report()).json.data as Finding[]
  const seen: Finding[] = []
  let next: string | null = ''
  for (let turn = 0; next !== null && turn < 100; turn += 1) {
    const { json } = await report(`?limit=2${next === '' ? '' : `&after=${next}`}`)
    seen.push(...json.data)
    expect(json.has_more).toBe(json.next !== null)
    next = json.next
  }
  expect(seen).toEqual(whole)
  const { json } = await platform.send(platform.other.adminKey, 'GET', '/v1/organization/key_hygiene')
  expect(new Set(json.data.map(({ key }: { key: { project: unknown } }) => key.project))).toEqual(new Set([null]))
})
