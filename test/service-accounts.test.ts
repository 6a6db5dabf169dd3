// Service accounts and their keys, the key policies, admin keys with scopes: through the official SDK where it has them.
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checkKey } from '#core/access.ts'
import type { Grant } from '#core/grant.ts'
import { sql } from '#storage/database.ts'
import { findGrant } from '#storage/grants.ts'
import { hashKey } from '#storage/secrets.ts'
import { type Answer, type TestPlatform, testPlatform } from './support/platform.ts'

let platform: TestPlatform
let client: OpenAI
beforeAll(async () => {
  platform = await testPlatform()
  client = new OpenAI({
    adminAPIKey: platform.first.adminKey,
    apiKey: '',
    baseURL: `${platform.url}/v1`,
    maxRetries: 0,
  })
})
afterAll(() => platform?.stop())

const ask = (method: string, path: string, body?: unknown): Promise<Answer> =>
  platform.send(platform.first.adminKey, method, path, body)
const project = (rest = ''): string => `/v1/organization/projects/${platform.projectId}${rest}`
const accounts = (rest = ''): string => project(`/service_accounts${rest}`)
const inProject = () => ({ project_id: platform.projectId })

async function grantOf(value: string): Promise<Grant> {
  const grant = await findGrant(platform.database, hashKey(platform.secrets, value))
  if (!grant) throw new Error('no such key')
  return grant
}

async function refusal(answer: Promise<Answer>) {
  const { status, json } = await answer
  return { status, ...json.error }
}

async function refused(value: string): Promise<string | undefined> {
  const grant = await grantOf(value)
  try {
    checkKey(grant, { nowMs: Date.now(), address: '127.0.0.1', origin: undefined })
    return undefined
  } catch (error) {
    return (error as { errorCode: string }).errorCode
  }
}

describe("the official SDK's service accounts", () => {
  const sdk = () => client.admin.organization.projects.serviceAccounts

  test('create reveals the key once; retrieve, update, list and delete work', async () => {
    const made = await sdk().create(platform.projectId, { name: 'ci' })
    expect(made).toMatchObject({
      object: 'organization.project.service_account',
      name: 'ci',
      role: 'member',
      api_key: {
        object: 'organization.project.service_account.api_key',
        name: 'Secret Key',
        expires_at: null,
        value: expect.stringMatching(/^sk-kh-svcacct-[0-9A-Za-z]{49}$/),
      },
    })
    const shown = await sdk().retrieve(made.id, inProject())
    expect(shown).toEqual({ object: made.object, id: made.id, name: 'ci', role: 'member', created_at: made.created_at })
    const updated = await sdk().update(made.id, { ...inProject(), name: 'builds', role: 'owner' })
    expect(updated).toMatchObject({ name: 'builds', role: 'owner' })
    const listed = []
    for await (const account of sdk().list(platform.projectId, { limit: 1 })) listed.push(account.id)
    expect(listed).toContain(made.id)
    const value = made.api_key?.value ?? ''
    expect(await refused(value)).toBeUndefined()
    const further = await sdk().apiKeys.create(made.id, { ...inProject(), name: 'second', scopes: ['model.request'] })
    expect(await sdk().delete(made.id, inProject())).toEqual({
      id: made.id,
      object: 'organization.project.service_account.deleted',
      deleted: true,
    })
    expect([await refused(value), await refused(further.value)]).toEqual(['key_revoked', 'key_revoked'])
    await expect(sdk().retrieve(made.id, inProject())).rejects.toMatchObject({ status: 404 })
    await expect(sdk().apiKeys.create(made.id, inProject())).rejects.toMatchObject({ status: 404 })
  })

  test('one without a key has no role, until it is given one and a key', async () => {
    const made = await sdk().create(platform.projectId, { name: 'bare', create_service_account_only: true })
    expect(made).toMatchObject({ role: 'none', api_key: null })
    const key = await sdk().apiKeys.create(made.id, { ...inProject(), expires_in_seconds: 3600 })
    expect([key.name, (key.expires_at ?? 0) - key.created_at]).toEqual(['Secret Key', 3600])
    expect((await grantOf(key.value)).permissions.size).toBe(0)
    await sdk().update(made.id, { ...inProject(), role: 'member' })
    expect((await grantOf(key.value)).permissions).toContain('model.request')
    const both = { name: 'x', create_service_account_only: true, expires_in_seconds: 60 }
    await expect(sdk().create(platform.projectId, both)).rejects.toMatchObject({
      status: 400,
      param: 'expires_in_seconds',
    })
  })

  test('its keys are keys of the project: shown with their owner, updated, rotated, deleted without the account', async () => {
    const made = await sdk().create(platform.projectId, { name: 'worker', expires_in_seconds: 86_400 })
    const id = made.api_key?.id ?? ''
    const keys = client.admin.organization.projects.apiKeys
    expect(await keys.retrieve(id, inProject())).toMatchObject({
      kind: 'service_account',
      owner_project_access: 'active',
      owner: {
        type: 'service_account',
        service_account: { id: made.id, name: 'worker', role: 'member', created_at: made.created_at },
      },
    })
    const narrowed = await keys.update(id, { ...inProject(), scopes: ['api.all.read'], expires_in_seconds: 60 })
    expect(narrowed).toMatchObject({ scopes: ['api.all.read'] })
    const { json: next } = await ask('POST', project(`/api_keys/${id}/rotate`))
    expect([next.kind, next.owner.service_account.id]).toEqual(['service_account', made.id])
    expect(next.value).toMatch(/^sk-kh-svcacct-/)
    expect(await keys.delete(next.id, inProject())).toMatchObject({ deleted: true })
    expect(await refused(next.value)).toBe('key_revoked')
    expect((await sdk().retrieve(made.id, inProject())).id).toBe(made.id)
  })

  test('every change is in the audit log', async () => {
    const made = await sdk().create(platform.projectId, { name: 'logged' })
    await sdk().update(made.id, { ...inProject(), role: 'owner' })
    await sdk().delete(made.id, inProject())
    const text = 'select entry from audit_logs where resource_id = any($1) order by number'
    const rows = await platform.database.query<{ entry: string }>(sql(text), [[made.id, made.api_key?.id]])
    const entries = rows.map(({ entry }) => JSON.parse(entry))
    expect(entries.map(entry => entry.type)).toEqual([
      'service_account.created',
      'api_key.created',
      'service_account.updated',
      'service_account.deleted',
    ])
    expect(entries[0]['service_account.created']).toEqual({ id: made.id, data: { name: 'logged', role: 'member' } })
    expect(entries[2]['service_account.updated']).toEqual({ id: made.id, changes_requested: { role: 'owner' } })
  })

  test('bad input is refused with its name, and an archived project takes no account', async () => {
    const made = await sdk().create(platform.projectId, { name: 'x' })
    expect(await refusal(ask('POST', accounts(`/${made.id}`), {}))).toMatchObject({ status: 400 })
    expect(await refusal(ask('POST', accounts(`/${made.id}`), { role: 'none' }))).toMatchObject({ param: 'role' })
    expect(await refusal(ask('POST', accounts(), { nmae: 'x' }))).toMatchObject({ status: 400 })
    const { json: short } = await ask('POST', '/v1/organization/projects', { name: 'short' })
    await ask('POST', `/v1/organization/projects/${short.id}/archive`)
    await expect(sdk().create(short.id, { name: 'late' })).rejects.toMatchObject({ status: 409 })
  })
})

describe('which owners still reach the project', () => {
  test('is shown on their keys and filters the list, page by page', async () => {
    const { database } = platform
    const person = async (name: string) => {
      const text = "insert into users (id, organization_id, name, role) values ($1, $2, $1, 'reader')"
      await database.query(sql(text), [name, platform.first.organizationId])
      const joined = "insert into project_users (project_id, user_id, role) values ($1, $2, 'viewer')"
      await database.query(sql(joined), [platform.projectId, name])
    }
    const give = async (owner: string): Promise<string> => {
      const { json } = await ask('POST', project('/api_keys'), { name: owner })
      await database.query(sql('update api_keys set owner_user_id = $2 where id = $1'), [json.id, owner])
      return json.id
    }
    await person('user-stays')
    await person('user-leaves')
    const kept = await give('user-stays')
    const lost = [await give('user-leaves'), await give('user-leaves'), await give('user-leaves')]
    const list = async (access: string): Promise<string[]> => {
      const found: string[] = []
      const query = { owner_project_access: access as 'active', limit: 2 }
      for await (const key of client.admin.organization.projects.apiKeys.list(platform.projectId, query)) {
        expect(access === 'any' || key.owner_project_access === access).toBe(true)
        found.push(key.id)
      }
      return found
    }
    expect(await list('inactive')).toEqual([])
    await database.query(sql("delete from project_users where user_id = 'user-leaves'"))
    expect(await list('inactive')).toEqual(lost)
    const active = await list('active')
    expect([active.includes(kept), active.some(id => lost.includes(id))]).toEqual([true, false])
    expect(await list('any')).toEqual(expect.arrayContaining([kept, ...lost]))
    const { owner } = await client.admin.organization.projects.apiKeys.retrieve(kept, inProject())
    expect(owner).toMatchObject({ type: 'user', user: { id: 'user-stays', role: 'viewer' } })
    await database.query(sql('update api_keys set revoked_at = now() where id = any($1)'), [lost])
  })
})

describe('key policies', () => {
  const organization = '/v1/organization/key_policy'
  const open = { allowed_cidrs: [], allowed_origins: [], key_lifetime_seconds_max: null, service_accounts_only: false }
  const newKey = (body: object = {}) => ask('POST', project('/api_keys'), { name: 'x', ...body })

  test('restrict nothing until they are set; what is left out of a change stays', async () => {
    expect((await ask('GET', organization)).json).toEqual({ object: 'organization.key_policy', ...open })
    const path = project('/key_policy')
    expect((await ask('GET', path)).json).toEqual({ object: 'project.key_policy', ...open })
    await ask('POST', path, { allowed_cidrs: ['10.0.0.1/8'], key_lifetime_seconds_max: 60 })
    const { json } = await ask('POST', path, { allowed_origins: ['app.example.com'] })
    expect(json).toMatchObject({
      allowed_cidrs: ['10.0.0.0/8'],
      allowed_origins: ['app.example.com'],
      key_lifetime_seconds_max: 60,
    })
    expect((await ask('POST', path, open)).json).toEqual({ object: 'project.key_policy', ...open })
    expect((await ask('POST', path, {})).status).toBe(400)
    expect(await refusal(ask('POST', path, { allowed_cidrs: ['x'] }))).toMatchObject({ param: 'allowed_cidrs[0]' })
    expect(await refusal(ask('POST', path, { key_lifetime_seconds_max: 0 }))).toMatchObject({ status: 400 })
  })

  test('the longest lifetime, the shorter of both, holds for new keys, updates, rotations and admin keys', async () => {
    const { json: before } = await newKey()
    await ask('POST', organization, { key_lifetime_seconds_max: 7_776_000 })
    await ask('POST', project('/key_policy'), { key_lifetime_seconds_max: 3_600 })
    const account = (await ask('POST', accounts(), { name: 'x', expires_in_seconds: 3_600 })).json
    try {
      const tooLong = {
        status: 400,
        param: 'expires_in_seconds',
        code: 'key_lifetime_too_long',
        message:
          'The key policy lets keys live for at most 3600 seconds (1 hour). Send expires_in_seconds of at most 3600.',
      }
      const attempts = [
        newKey(),
        newKey({ expires_in_seconds: 3_601 }),
        ask('POST', project(`/api_keys/${before.id}`), { expires_in_seconds: 3_601 }),
        ask('POST', project(`/api_keys/${before.id}/rotate`)),
        ask('POST', project(`/api_keys/${before.id}/backup`)),
        ask('POST', accounts(), { name: 'y' }),
        ask('POST', accounts(`/${account.id}/api_keys`)),
        ask('POST', accounts(`/${account.id}/api_keys`), { expires_in_seconds: 3_601 }),
      ]
      for (const attempt of attempts) expect(await refusal(attempt)).toMatchObject(tooLong)
      const admin = await refusal(ask('POST', '/v1/organization/admin_api_keys', { name: 'x' }))
      expect(admin.message).toContain('at most 7776000 seconds (90 days)')
      expect((await newKey({ expires_in_seconds: 3_600 })).status).toBe(200)
      const rotate = project(`/api_keys/${before.id}/rotate`)
      expect((await ask('POST', rotate, { expires_in_seconds: 600 })).status).toBe(200)
      expect((await ask('GET', accounts())).json.data.map(({ name }: { name: string }) => name)).not.toContain('y')
    } finally {
      await ask('POST', organization, open)
      await ask('POST', project('/key_policy'), open)
    }
  })

  test('the longest lifetime of a secret is not renewed by pushing its expiry out, and an old key may get an end', async () => {
    const hour = 3_600
    const age = (id: string, seconds: number) =>
      platform.database.query(
        sql('update api_keys set created_at = created_at - make_interval(secs => $2) where id = $1'),
        [id, seconds],
      )
    const { json: old } = await newKey()
    const { json: aging } = await newKey({ expires_in_seconds: 60 })
    await age(old.id, 10 * hour)
    await age(aging.id, 3_000)
    await ask('POST', project('/key_policy'), { key_lifetime_seconds_max: hour })
    const extend = (id: string, expires_in_seconds: number) =>
      ask('POST', project(`/api_keys/${id}`), { expires_in_seconds })
    try {
      const refused = await refusal(extend(aging.id, 700))
      expect(refused).toMatchObject({ status: 400, code: 'key_lifetime_too_long' })
      expect(refused.message).toMatch(/at most (5\d\d|600)\.$/)
      expect((await extend(aging.id, 500)).status).toBe(200)
      await age(aging.id, hour)
      expect((await refusal(extend(aging.id, 600))).message).toContain('This one has had them: rotate it.')
      expect((await extend(aging.id, 10)).status).toBe(200)
      expect((await refusal(extend(old.id, hour + 1))).message).toContain('of at most 3600.')
      expect((await extend(old.id, hour)).status).toBe(200)
      expect((await extend(old.id, hour + 1)).status).toBe(400)
    } finally {
      await ask('POST', project('/key_policy'), open)
    }
  })

  test('service accounts only: people get no new keys, and those that they have go on', async () => {
    const { json: before } = await newKey()
    const { json: account } = await ask('POST', accounts(), { name: 'machine' })
    for (const path of [organization, project('/key_policy')]) {
      await ask('POST', path, { service_accounts_only: true })
      try {
        const attempts = [newKey(), newKey({ test: true })]
        for (const verb of ['rotate', 'backup']) attempts.push(ask('POST', project(`/api_keys/${before.id}/${verb}`)))
        for (const attempt of attempts) {
          expect(await refusal(attempt)).toMatchObject({ status: 403, code: 'service_accounts_only' })
        }
        expect(await refused(before.value)).toBeUndefined()
        expect((await ask('POST', accounts(`/${account.id}/api_keys`))).status).toBe(200)
        expect((await ask('POST', project(`/api_keys/${account.api_key.id}/rotate`))).status).not.toBe(403)
        const admin = await ask('POST', '/v1/organization/admin_api_keys', { name: 'x' })
        expect(admin.status).toBe(200)
      } finally {
        await ask('POST', path, open)
      }
    }
  })

  test('an owner cannot lock himself out by an address list, and origins are not asked of admin keys', async () => {
    const error = await refusal(ask('POST', organization, { allowed_cidrs: ['203.0.113.0/24'] }))
    expect(error).toMatchObject({ status: 400, code: 'would_lock_out', param: 'allowed_cidrs' })
    expect(error.message).toContain('127.0.0.1')
    expect((await ask('GET', organization)).json.allowed_cidrs).toEqual([])
    expect((await ask('POST', organization, { allowed_cidrs: ['127.0.0.1', '203.0.113.0/24'] })).status).toBe(200)
    expect((await ask('POST', organization, { allowed_cidrs: [], allowed_origins: ['app.example.com'] })).status).toBe(
      200,
    )
    expect((await ask('GET', organization)).status).toBe(200)
    expect(await refused(platform.first.projectKey)).toBe('origin_not_authorized')
    await ask('POST', organization, open)
    expect(await refused(platform.first.projectKey)).toBeUndefined()
  })

  test('a change is in the audit log, and told to every node', async () => {
    await ask('POST', project('/key_policy'), { service_accounts_only: false })
    const text = "select entry from audit_logs where type = 'project.updated' order by number desc limit 1"
    const [{ entry } = { entry: '{}' }] = await platform.database.query<{ entry: string }>(sql(text))
    expect(JSON.parse(entry)).toMatchObject({
      project: { id: platform.projectId },
      'project.updated': { changes_requested: { key_policy: { service_accounts_only: false } } },
    })
    const events = 'select subject_kind, subject_id from auth_events order by id desc limit 1'
    expect(await platform.database.query(sql(events))).toEqual([
      { subject_kind: 'project', subject_id: platform.projectId },
    ])
  })
})

describe('admin keys with scopes', () => {
  const path = '/v1/organization/admin_api_keys'

  test('may do what they were given, and give no more than that', async () => {
    const { json: key } = await ask('POST', path, {
      name: 'keys only',
      scopes: ['api.organization.admin_api_keys.write', 'api.organization.projects.read'],
    })
    expect(key.scopes).toEqual(['api.organization.admin_api_keys.write', 'api.organization.projects.read'])
    const send = (method: string, to: string, body?: unknown) => platform.send(key.value, method, to, body)
    expect((await send('GET', '/v1/organization/projects')).status).toBe(200)
    expect((await send('POST', '/v1/organization/projects', { name: 'x' })).status).toBe(401)
    expect((await send('POST', path, { name: 'child' })).json.scopes).toEqual(key.scopes)
    expect((await send('POST', path, { name: 'less', scopes: ['api.organization.projects.read'] })).status).toBe(200)
    for (const scopes of [[], ['api.all.read'], ['api.management.write'], ['api.organization.projects.write']]) {
      const error = await refusal(send('POST', path, { name: 'more', scopes }))
      expect([scopes, error.status, error.code]).toEqual([scopes, 403, 'beyond_own_permissions'])
    }
  })

  test('give no service account, and no key of one, that may do more than they', async () => {
    const scopes = ['api.organization.projects.service_accounts.write', 'model.request.embeddings']
    const { json: key } = await ask('POST', path, { name: 'accounts only', scopes })
    const send = (to: string, body?: unknown) => platform.send(key.value, 'POST', accounts(to), body)
    const { json: member } = await ask('POST', accounts(), { name: 'member' })
    const { json: nobody } = await send('', { name: 'nobody', create_service_account_only: true })
    expect(nobody.role).toBe('none')
    const attempts = [
      send('', { name: 'with a key' }),
      send(`/${nobody.id}`, { role: 'member' }),
      send(`/${member.id}`, { role: 'owner' }),
      send(`/${member.id}/api_keys`),
      // It has no role yet, and may have one tomorrow
      send(`/${nobody.id}/api_keys`),
    ]
    for (const attempt of attempts)
      expect(await refusal(attempt)).toMatchObject({ status: 403, code: 'beyond_own_permissions' })
    expect((await send(`/${member.id}/api_keys`, { scopes: ['model.request.embeddings'] })).status).toBe(200)
    expect((await send(`/${member.id}`, { name: 'renamed' })).json.role).toBe('member')
  })

  test('expire and are listed by the SDK', async () => {
    const made = await client.admin.organization.adminAPIKeys.create({ name: 'short', expires_in_seconds: 60 })
    expect((made.expires_at ?? 0) - made.created_at).toBeGreaterThanOrEqual(59)
    const ids = []
    for await (const key of client.admin.organization.adminAPIKeys.list({ limit: 2 })) ids.push(key.id)
    expect(ids).toContain(made.id)
    expect(await client.admin.organization.adminAPIKeys.delete(made.id)).toMatchObject({ deleted: true })
    const text = "select entry from audit_logs where resource_id = $1 and type = 'api_key.deleted'"
    expect(await platform.database.query(sql(text), [made.id])).toHaveLength(1)
  })
})

test('nothing of this crosses between organizations', async () => {
  const { json: account } = await ask('POST', accounts(), { name: 'ours' })
  const key = account.api_key.id
  const foreign = `/v1/organization/projects/${platform.other.projectId}`
  const attempts: [string, string, object?][] = [
    ['GET', accounts()],
    ['POST', accounts(), { name: 'intruder' }],
    ['GET', accounts(`/${account.id}`)],
    ['POST', accounts(`/${account.id}`), { name: 'taken' }],
    ['DELETE', accounts(`/${account.id}`)],
    ['POST', accounts(`/${account.id}/api_keys`)],
    ['GET', project('/key_policy')],
    ['POST', project('/key_policy'), { service_accounts_only: true }],
    ['POST', project(`/api_keys/${key}`), { name: 'taken' }],
    // Ours under a project of theirs
    ['GET', `${foreign}/service_accounts/${account.id}`],
    ['POST', `${foreign}/service_accounts/${account.id}/api_keys`],
    ['DELETE', `${foreign}/service_accounts/${account.id}`],
    ['POST', `${foreign}/api_keys/${key}`, { name: 'taken' }],
    ['POST', `${foreign}/api_keys`, { name: 'x', backup_of: key }],
  ]
  for (const verb of ['rotate', 'backup', 'disable', 'enable']) {
    attempts.push(['POST', project(`/api_keys/${key}/${verb}`)], ['POST', `${foreign}/api_keys/${key}/${verb}`])
  }
  for (const [method, path, body] of attempts) {
    const { status } = await platform.send(platform.other.adminKey, method, path, body)
    expect([method, path, status]).toEqual([method, path, 404])
  }
  expect((await ask('GET', accounts(`/${account.id}`))).json.name).toBe('ours')
  const theirs = await platform.send(platform.other.adminKey, 'GET', '/v1/organization/key_policy')
  expect(theirs.json.service_accounts_only).toBe(false)
  expect(await refused(account.api_key.value)).toBeUndefined()
})
