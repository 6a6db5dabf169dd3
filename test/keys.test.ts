// Keys beyond OpenAI's: what they may be made with and changed to, what takes their place, and what dies with them.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ApiKeyId, ProjectId } from '#contract/ids.ts'
import { checkKey } from '#core/access.ts'
import { mintKey } from '#platform/mint-key.ts'
import { sql } from '#storage/database.ts'
import { findGrant } from '#storage/grants.ts'
import { hashKey } from '#storage/secrets.ts'
import { type Answer, type TestPlatform, testPlatform } from './support/platform.ts'

let platform: TestPlatform
beforeAll(async () => {
  platform = await testPlatform()
})
afterAll(() => platform?.stop())

const ask = (method: string, path: string, body?: unknown): Promise<Answer> =>
  platform.send(platform.first.adminKey, method, path, body)
const project = (rest = ''): string => `/v1/organization/projects/${platform.projectId}${rest}`
const keyPath = (id: string, verb = ''): string => project(`/api_keys/${id}${verb}`)

async function newKey(body: object = {}) {
  const { status, json } = await ask('POST', project('/api_keys'), { name: 'a key', ...body })
  expect([status, json.error]).toEqual([200, undefined])
  return json
}

async function refusal(answer: Promise<Answer>) {
  const { status, json } = await answer
  return { status, ...json.error }
}

/** What either plane would say to whoever calls with this key now: undefined, or the code of its refusal. */
async function refused(value: string, from: { address?: string; origin?: string } = {}): Promise<string | undefined> {
  const grant = await findGrant(platform.database, hashKey(platform.secrets, value))
  if (!grant) return 'unknown'
  try {
    checkKey(grant, { nowMs: Date.now(), address: from.address ?? '127.0.0.1', origin: from.origin })
    return undefined
  } catch (error) {
    return (error as { errorCode: string }).errorCode
  }
}

/** The subjects of the auth events since `work` began. */
async function eventsOf(work: () => Promise<unknown>): Promise<string[]> {
  const newest = sql('select coalesce(max(id), 0) as id from auth_events')
  const [{ id } = { id: 0n }] = await platform.database.query<{ id: bigint }>(newest)
  await work()
  const since = sql('select subject_id from auth_events where id > $1 order by id')
  const rows = await platform.database.query<{ subject_id: string }>(since, [id])
  return rows.map(row => row.subject_id)
}

async function auditOf(resource: string): Promise<Record<string, unknown>[]> {
  const text = 'select entry from audit_logs where resource_id = $1 order by number'
  const rows = await platform.database.query<{ entry: string }>(sql(text), [resource])
  return rows.map(row => JSON.parse(row.entry))
}

const secretBody = (value: string): string => value.slice(value.lastIndexOf('-') + 1)

describe('permissions', () => {
  test.each([
    [{}, []],
    [{ permissions: 'all' }, []],
    [{ permissions: 'read_only' }, ['api.all.read']],
    [{ permissions: 'restricted', scopes: ['model.request.embeddings'] }, ['model.request.embeddings']],
    [{ scopes: ['api.files.read', 'api.files.read'] }, ['api.files.read']],
  ])('%j is the scopes %j', async (body, scopes) => {
    expect((await newKey(body)).scopes).toEqual(scopes)
  })

  test.each([
    [{ permissions: 'restricted' }, 'scopes', 'needs scopes'],
    [{ permissions: 'restricted', scopes: [] }, 'scopes', 'needs scopes'],
    [{ permissions: 'all', scopes: ['model.request'] }, 'permissions', 'Send either'],
    [{ permissions: 'read_only', scopes: ['model.request'] }, 'permissions', 'Send either'],
    [{ permissions: 'everything' }, 'permissions', "expected one of 'all', 'restricted', 'read_only'"],
  ])('%j is refused, naming %s', async (body, param, message) => {
    const error = await refusal(ask('POST', project('/api_keys'), { name: 'x', ...body }))
    expect(error).toMatchObject({ status: 400, param, message: expect.stringContaining(message) })
  })
})

describe('address and origin lists', () => {
  test('are kept in one spelling, with the bits behind the length cleared', async () => {
    const key = await newKey({
      allowed_cidrs: [
        '10.1.2.3/8',
        '10.9.9.9/8',
        '203.0.113.7',
        '203.0.113.7/32',
        '::ffff:192.0.2.0/120',
        '2001:DB8::1/32',
        '::ffff:a00:1',
      ],
      allowed_origins: ['App.Example.com', '*.example.org', 'localhost', 'localhost'],
    })
    expect(key.allowed_cidrs).toEqual(['10.0.0.0/8', '203.0.113.7/32', '192.0.2.0/24', '2001:db8::/32', '10.0.0.1/32'])
    expect(key.allowed_origins).toEqual(['app.example.com', '*.example.org', 'localhost'])
  })

  test.each([
    [['10.0.0.0/8', '10.0.0.0/33'], 'allowed_cidrs[1]', "'10.0.0.0/33' is no address or CIDR block"],
    [['10.0.0'], 'allowed_cidrs[0]', "'10.0.0' is no address"],
    [['fe80::1%eth0/64'], 'allowed_cidrs[0]', 'is no address'],
    [['1.2.3.4/ 8'], 'allowed_cidrs[0]', 'is no address'],
    [['1.2.3.4/8/8'], 'allowed_cidrs[0]', 'is no address'],
    [['example.com'], 'allowed_cidrs[0]', 'is no address'],
    [Array(51).fill('10.0.0.1'), 'allowed_cidrs', 'at most 50 items'],
  ])('%j is refused by its entry', async (allowed_cidrs, param, message) => {
    const error = await refusal(ask('POST', project('/api_keys'), { name: 'x', allowed_cidrs }))
    expect(error).toMatchObject({ status: 400, param, message: expect.stringContaining(message) })
  })

  test.each([
    'https://app.example.com',
    'example.com:80',
    '*',
    '*example.com',
    'a.*.com',
    'a..b',
    '-a.com',
    'ex ample.com',
    '',
  ])("the origin '%s' is refused with how to write it", async origin => {
    const error = await refusal(ask('POST', project('/api_keys'), { name: 'x', allowed_origins: ['ok.dev', origin] }))
    expect(error).toMatchObject({
      status: 400,
      param: 'allowed_origins[1]',
      message: expect.stringContaining('expected a host'),
    })
  })
})

describe('models', () => {
  test('are kept as they were named, once, shown on the key, in its audit entry, and on what takes its place', async () => {
    const key = await newKey({ allowed_models: ['m', 'not-there-yet', 'm'] })
    expect(key.allowed_models).toEqual(['m', 'not-there-yet'])
    expect(await auditOf(key.id)).toMatchObject([
      { 'api_key.created': { data: { allowed_models: ['m', 'not-there-yet'] } } },
    ])
    expect((await ask('POST', keyPath(key.id, '/backup'))).json.allowed_models).toEqual(['m', 'not-there-yet'])
    const { json: next } = await ask('POST', keyPath(key.id, '/rotate'))
    expect(next.allowed_models).toEqual(['m', 'not-there-yet'])
    expect((await ask('POST', keyPath(next.id), { allowed_models: [] })).json.allowed_models).toEqual([])
    const asked = { replacement: { allowed_models: ['e'] } }
    const { json: worst } = await ask('POST', keyPath(next.id, '/compromised'), asked)
    expect(worst.replacement.allowed_models).toEqual(['e'])
  })

  test('are named by their own names: an alias is refused, by its place in the list', async () => {
    const aliases = '/v1/platform/model_aliases'
    await ask('POST', aliases, { alias: 'quick', model: 'tinyllama-1.1b-chat' })
    const { value } = await newKey()
    for (const refused of [
      ask('POST', project('/api_keys'), { name: 'x', allowed_models: ['m', 'quick'] }),
      platform.send(value, 'POST', '/v1/client_secrets', { allowed_models: ['m', 'quick'] }),
    ]) {
      expect(await refusal(refused)).toMatchObject({
        status: 400,
        param: 'allowed_models[1]',
        message: expect.stringContaining('`tinyllama-1.1b-chat`'),
      })
    }
    await ask('DELETE', `${aliases}/quick`)
  })

  test('of a client secret are those of its key, or some of them', async () => {
    const key = await newKey({ allowed_models: ['m', 'e'] })
    const mint = (body?: object) => platform.send(key.value, 'POST', '/v1/client_secrets', body)
    expect((await mint()).json.allowed_models).toEqual(['m', 'e'])
    const { json: narrow } = await mint({ allowed_models: ['e'] })
    expect(narrow.allowed_models).toEqual(['e'])
    expect((await platform.send(narrow.value, 'GET', '/v1/me')).json.allowed_models).toEqual(['e'])
    expect(await refusal(mint({ allowed_models: ['e', 'other'] }))).toMatchObject({
      status: 400,
      param: 'allowed_models[1]',
    })
    const { value: free } = await newKey()
    expect((await platform.send(free, 'POST', '/v1/client_secrets', { allowed_models: ['other'] })).status).toBe(200)
    await ask('POST', keyPath(key.id), { allowed_models: ['m'] })
    expect(await refused(narrow.value)).toBe('key_revoked')
  })
})

describe('nobody is shown the secret of a key that may do more than theirs', () => {
  const keysOnly = 'api.organization.projects.api_keys.write'
  let narrow: string
  beforeAll(async () => {
    const body = { name: 'keys of embeddings', scopes: [keysOnly, 'model.request.embeddings'] }
    narrow = (await ask('POST', '/v1/organization/admin_api_keys', body)).json.value
  })
  const by = (key: string, path: string, body?: unknown) => platform.send(key, 'POST', path, body)
  const beyond = { status: 403, code: 'beyond_own_permissions' }

  test('whatever they make, rotate, back up, replace or widen', async () => {
    const all = await newKey()
    const few = await newKey({ scopes: ['model.request.embeddings'] })
    for (const body of [{}, { permissions: 'read_only' }, { scopes: ['model.request'] }, { test: true }])
      expect(await refusal(by(narrow, project('/api_keys'), { name: 'wide', ...body }))).toMatchObject(beyond)
    for (const verb of ['/rotate', '/backup']) {
      expect(await refusal(by(narrow, keyPath(all.id, verb)))).toMatchObject(beyond)
    }
    expect(await refusal(by(narrow, keyPath(all.id, '/compromised'), { replacement: {} }))).toMatchObject(beyond)
    expect(await refusal(by(narrow, keyPath(few.id), { scopes: ['model.request'] }))).toMatchObject({
      ...beyond,
      message: expect.stringContaining('may not do: model.request.'),
    })
    expect((await ask('GET', keyPath(all.id))).json).toMatchObject({ status: 'active', rotated_to: null })
    expect((await ask('GET', keyPath(few.id))).json.scopes).toEqual(['model.request.embeddings'])
  })

  test('and they do make, rotate and narrow what is within their own', async () => {
    const scopes = ['model.request.embeddings']
    const made = await by(narrow, project('/api_keys'), { name: 'narrow', scopes })
    expect(made.json.scopes).toEqual(scopes)
    expect((await by(narrow, keyPath(made.json.id, '/rotate'))).status).toBe(200)
    const all = await newKey()
    expect((await by(narrow, keyPath(all.id), { scopes: ['model.request', 'api.files.read'] })).status).toBe(200)
    expect((await by(narrow, keyPath(all.id), { name: 'renamed' })).status).toBe(200)
  })

  test('a person who may only make keys gets none that does what an owner may', async () => {
    const { json: invite } = await ask('POST', '/v1/organization/invites', { email: 'k@example.com', role: 'reader' })
    const user = await platform.send(null, 'POST', '/v1/organization/invites/accept', {
      token: invite.token,
      name: 'K',
    })
    const role = { role_name: 'Makes keys', permissions: [keysOnly] }
    const { json: made } = await ask('POST', '/v1/organization/roles', role)
    await ask('POST', `/v1/organization/users/${user.json.id}/roles`, { role_id: made.id })
    const { organizationId } = platform.first
    const draft = { kind: 'admin', organizationId, projectId: null, ownerUserId: user.json.id, name: 'theirs' } as const
    const theirs = (await platform.database.transaction(tx => mintKey(tx, platform.secrets, draft))).value
    const owners = await newKey()
    expect(await refusal(by(theirs, keyPath(owners.id, '/rotate'), { grace_seconds: 0 }))).toMatchObject(beyond)
    expect((await by(theirs, project('/api_keys'), { name: 'own: it does what their roles allow' })).status).toBe(200)
  })
})

test('whoever deletes what he lists gets to the end of the list', async () => {
  const { json: own } = await ask('POST', '/v1/organization/projects', { name: 'to be emptied' })
  const keys = `/v1/organization/projects/${own.id}/api_keys`
  for (let made = 0; made < 5; made += 1) await ask('POST', keys, { name: `${made}` })
  const seen: string[] = []
  let after = ''
  for (let more = true; more; ) {
    const { json } = await ask('GET', `${keys}?limit=1${after}`)
    const [{ id, name }] = json.data
    seen.push(name)
    await ask('DELETE', `${keys}/${id}`)
    after = `&after=${id}`
    more = json.has_more
  }
  expect(seen).toEqual(['0', '1', '2', '3', '4'])
})

describe('update', () => {
  test('changes what is sent and leaves the rest; an empty list of scopes is All', async () => {
    const key = await newKey({ scopes: ['model.request'], allowed_cidrs: ['10.0.0.0/8'], expires_in_seconds: 1000 })
    const { json: renamed } = await ask('POST', keyPath(key.id), { name: 'renamed' })
    expect(renamed).toMatchObject({ name: 'renamed', scopes: ['model.request'], expires_at: key.expires_at })
    const { json } = await ask('POST', keyPath(key.id), { scopes: [], allowed_cidrs: [], expires_in_seconds: 5000 })
    expect(json).toMatchObject({ name: 'renamed', scopes: [], allowed_cidrs: [] })
    expect(json.expires_at - key.expires_at).toBeGreaterThanOrEqual(3999)
    expect(json.value).toBeUndefined()
    const { json: readOnly } = await ask('POST', keyPath(key.id), { permissions: 'read_only', rotate_every_days: 30 })
    expect(readOnly).toMatchObject({ scopes: ['api.all.read'], rotate_every_days: 30, rotation_due: false })
    expect((await ask('POST', keyPath(key.id), { rotate_every_days: null })).json.rotate_next_at).toBeNull()
    expect((await auditOf(key.id)).map(entry => [entry.type, entry[entry.type as string]])).toContainEqual([
      'api_key.updated',
      { id: key.id, changes_requested: { name: 'renamed' } },
    ])
  })

  test('of nothing, of an expired, a revoked or an unknown key is refused', async () => {
    const key = await newKey()
    expect(await refusal(ask('POST', keyPath(key.id), {}))).toMatchObject({
      status: 400,
      message: expect.stringContaining('Nothing to change'),
    })
    const expired = sql("update api_keys set expires_at = now() - interval '1 second' where id = $1")
    await platform.database.query(expired, [key.id])
    for (const verb of ['', '/rotate', '/backup', '/disable', '/enable']) {
      const error = await refusal(ask('POST', keyPath(key.id, verb), verb === '' ? { name: 'x' } : {}))
      expect([verb, error.status, error.message]).toEqual([verb, 409, expect.stringContaining('has expired')])
    }
    expect((await ask('GET', keyPath(key.id))).json.status).toBe('expired')
    await ask('DELETE', keyPath(key.id))
    expect((await ask('POST', keyPath(key.id), { name: 'x' })).status).toBe(404)
    expect((await ask('POST', keyPath('key_nothing'), { name: 'x' })).status).toBe(404)
  })
})

describe('disable and enable', () => {
  test('a disabled key is refused until it is enabled, as often as one likes', async () => {
    const key = await newKey()
    expect(await refused(key.value)).toBeUndefined()
    const events = await eventsOf(() => ask('POST', keyPath(key.id, '/disable')))
    expect(events).toEqual([key.id])
    expect((await ask('POST', keyPath(key.id, '/disable'))).json.status).toBe('disabled')
    expect(await refused(key.value)).toBe('key_disabled')
    expect((await ask('POST', keyPath(key.id, '/enable'))).json.status).toBe('active')
    expect(await refused(key.value)).toBeUndefined()
  })
})

describe('rotation', () => {
  test('gives a new secret with the same settings and budget, and lets the old one work for the grace', async () => {
    const key = await newKey({
      scopes: ['model.request'],
      allowed_cidrs: ['127.0.0.0/8'],
      allowed_origins: [],
      rotate_every_days: 7,
    })
    const { json: next } = await ask('POST', keyPath(key.id, '/rotate'), { grace_seconds: 100 })
    expect(next).toMatchObject({
      name: key.name,
      scopes: ['model.request'],
      allowed_cidrs: ['127.0.0.0/8'],
      rotated_from: key.id,
      expires_at: null,
      rotate_every_days: 7,
      replaced: { id: key.id, last_used_at: null },
    })
    expect(next.replaced.expires_at - next.created_at).toBeGreaterThanOrEqual(98)
    expect(next.replaced.expires_at - next.created_at).toBeLessThanOrEqual(101)
    expect([await refused(key.value), await refused(next.value)]).toEqual([undefined, undefined])
    const [old, young] = await Promise.all(
      [key, next].map(({ value }) => findGrant(platform.database, hashKey(platform.secrets, value))),
    )
    expect([old?.budgetKeyId, young?.budgetKeyId]).toEqual([key.id, key.id])
    const shown = (await ask('GET', keyPath(key.id))).json
    expect(shown).toMatchObject({ rotated_to: next.id, expires_at: next.replaced.expires_at, rotate_next_at: null })
    const third = (await ask('POST', keyPath(next.id, '/rotate'))).json
    expect((await findGrant(platform.database, hashKey(platform.secrets, third.value)))?.budgetKeyId).toBe(key.id)
    expect(third.replaced.expires_at - third.created_at).toBeGreaterThanOrEqual(86_398)
  })

  test('without grace the old key is dead at once, and both were told to every node', async () => {
    const key = await newKey()
    let next = key
    const events = await eventsOf(async () => {
      next = (await ask('POST', keyPath(key.id, '/rotate'), { grace_seconds: 0 })).json
    })
    expect(events).toEqual([key.id, next.id])
    expect([await refused(key.value), await refused(next.value)]).toEqual(['key_expired', undefined])
  })

  test('a grace never reaches past the old expiry, and nobody gets access for longer by rotating', async () => {
    const key = await newKey({ expires_in_seconds: 60 })
    const { json: next } = await ask('POST', keyPath(key.id, '/rotate'), { grace_seconds: 604_800 })
    expect([next.replaced.expires_at, next.expires_at]).toEqual([key.expires_at, key.expires_at])
    const { json: longer } = await ask('POST', keyPath(next.id, '/rotate'), { expires_in_seconds: 1000 })
    expect(longer.expires_at - key.expires_at).toBeGreaterThanOrEqual(938)
  })

  test('a key is rotated once, whoever asks at the same moment', async () => {
    const key = await newKey()
    const answers = await Promise.all([1, 2, 3, 4].map(() => ask('POST', keyPath(key.id, '/rotate'))))
    const good = answers.filter(({ status }) => status === 200)
    expect(good).toHaveLength(1)
    const bad = answers.find(({ status }) => status !== 200)
    expect([bad?.status, bad?.json.error.message]).toEqual([
      409,
      `The API key ${key.id} was rotated already: ${good[0]?.json.id} replaces it. Rotate that.`,
    ])
    expect(await refusal(ask('POST', keyPath(key.id), { expires_in_seconds: 900 }))).toMatchObject({
      status: 409,
      message: expect.stringContaining('ends with its grace'),
    })
  })

  test('dead keys and graces out of bounds are refused', async () => {
    const key = await newKey()
    await ask('POST', keyPath(key.id, '/disable'))
    expect(await refusal(ask('POST', keyPath(key.id, '/rotate')))).toMatchObject({
      status: 409,
      message: expect.stringContaining('is disabled. Enable it'),
    })
    for (const grace_seconds of [-1, 604_801, 1.5]) {
      const error = await refusal(ask('POST', keyPath(key.id, '/rotate'), { grace_seconds }))
      expect(error).toMatchObject({ status: 400, param: 'grace_seconds' })
    }
  })

  test('a schedule that has run out shows as due', async () => {
    const key = await newKey({ rotate_every_days: 30 })
    expect([key.rotation_due, key.rotate_next_at - key.created_at]).toEqual([false, 30 * 86_400])
    await platform.database.query(sql('update api_keys set rotate_next_at = now() where id = $1'), [key.id])
    const listed = (await ask('GET', project('/api_keys?limit=100'))).json.data
    expect(listed.find(({ id }: { id: string }) => id === key.id).rotation_due).toBe(true)
    const { json: next } = await ask('POST', keyPath(key.id, '/rotate'))
    expect([next.rotation_due, (await ask('GET', keyPath(key.id))).json.rotation_due]).toEqual([false, false])
  })
})

describe('backup keys', () => {
  test('sleep until the first is revoked, and then work, with nodes told of both', async () => {
    const key = await newKey({ scopes: ['model.request'] })
    const { json: backup } = await ask('POST', keyPath(key.id, '/backup'))
    expect(backup).toMatchObject({ backup_of: key.id, status: 'asleep', scopes: ['model.request'] })
    expect([await refused(key.value), await refused(backup.value)]).toEqual([undefined, 'key_asleep'])
    // An event of the project is one of every key in it
    expect(await eventsOf(() => ask('DELETE', keyPath(key.id)))).toEqual([platform.projectId])
    expect([await refused(key.value), await refused(backup.value)]).toEqual(['key_revoked', undefined])
    expect((await ask('GET', keyPath(backup.id))).json).toMatchObject({ backup_of: key.id, status: 'active' })
    expect((await findGrant(platform.database, hashKey(platform.secrets, backup.value)))?.budgetKeyId).toBe(key.id)
  })

  test('sleep behind the replacement once their key is rotated', async () => {
    const key = await newKey()
    const { json: backup } = await ask('POST', keyPath(key.id, '/backup'))
    const { json: next } = await ask('POST', keyPath(key.id, '/rotate'), { grace_seconds: 0 })
    await ask('DELETE', keyPath(key.id))
    expect(await refused(backup.value)).toBe('key_asleep')
    await ask('DELETE', keyPath(next.id))
    expect(await refused(backup.value)).toBeUndefined()
  })

  test('are one for each key, and none for one that sleeps itself or was replaced', async () => {
    const key = await newKey()
    const { json: backup } = await ask('POST', keyPath(key.id, '/backup'))
    const messages = []
    for (const [id, verb] of [
      [key.id, '/backup'],
      [backup.id, '/backup'],
      [backup.id, '/rotate'],
    ]) {
      const { status, message } = await refusal(ask('POST', keyPath(id, verb)))
      messages.push([status, message])
    }
    expect(messages).toEqual([
      [409, expect.stringContaining(`has a backup key, ${backup.id}`)],
      [409, expect.stringContaining('is a backup key itself')],
      [409, expect.stringContaining(`sleeps behind ${key.id}`)],
    ])
    await ask('DELETE', keyPath(backup.id))
    const own = await newKey({ name: 'other settings', backup_of: key.id, scopes: ['api.model.read'] })
    expect(own).toMatchObject({ status: 'asleep', scopes: ['api.model.read'], name: 'other settings' })
    expect((await ask('POST', project('/api_keys'), { name: 'x', backup_of: 'key_nowhere' })).status).toBe(404)
  })
})

describe('client secrets', () => {
  const mint = (key: string, body?: object) => platform.send(key, 'POST', '/v1/client_secrets', body)

  test('are minted with a project key, live shortly, and call models unless told otherwise', async () => {
    const key = await newKey({ allowed_origins: ['*.example.com'] })
    const mintedWith = await fetch(`${platform.url}/v1/client_secrets`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${key.value}`,
        origin: 'https://app.example.com',
        'content-type': 'application/json',
      },
      body: JSON.stringify({ expires_in_seconds: 10 }),
    })
    // What the contract promises, as the other tests check it
    const secret = (await mintedWith.json()) as { id: string; value: string; expires_at: number; created_at: number }
    expect(secret).toMatchObject({
      object: 'client_secret',
      scopes: ['model.request'],
      allowed_origins: ['*.example.com'],
      value: expect.stringMatching(/^sk-kh-proj-/),
    })
    // Each is cut to whole seconds by itself, and the transaction has begun a moment before
    expect(secret.expires_at - secret.created_at).toBeLessThanOrEqual(11)
    expect(await refused(secret.value, { origin: 'https://app.example.com' })).toBeUndefined()
    expect(await refused(secret.value, { origin: 'https://evil-example.com' })).toBe('origin_not_authorized')
    const listed = (await ask('GET', project('/api_keys?limit=100&order=desc'))).json.data
    expect(listed.map(({ id }: { id: string }) => id)).not.toContain(secret.id)
    expect((await ask('GET', keyPath(secret.id))).json).toMatchObject({ minted_by: key.id })
    expect(await auditOf(secret.id)).toMatchObject([{ 'api_key.created': { data: { minted_by: key.id } } }])
  })

  test('need no body, and a lifetime within bounds', async () => {
    const { value } = await newKey()
    const { json } = await mint(value)
    expect(json.expires_at - json.created_at).toBeGreaterThanOrEqual(599)
    for (const expires_in_seconds of [9, 7_201]) {
      expect(await refusal(mint(value, { expires_in_seconds }))).toMatchObject({
        status: 400,
        param: 'expires_in_seconds',
      })
    }
  })

  test('may do no more than the key that mints, and mint nothing', async () => {
    const all = await newKey()
    const narrow = await newKey({ scopes: ['model.request.embeddings', 'api.client_secrets.write'] })
    expect((await mint(narrow.value)).json.scopes).toEqual(['model.request.embeddings'])
    for (const scopes of [['model.request'], ['api.all.read'], ['model.request.embeddings', 'api.files.read']]) {
      const error = await refusal(mint(narrow.value, { scopes }))
      expect([scopes, error.status, error.code]).toEqual([scopes, 403, 'beyond_own_permissions'])
    }
    const { json: secret } = await mint(all.value, { scopes: ['api.files.read', 'model.request'] })
    expect(await refusal(mint(secret.value))).toMatchObject({ status: 401, code: 'missing_scope' })
    for (const scopes of [['api.client_secrets.write'], []]) {
      expect((await mint(all.value, { scopes })).status).toBeGreaterThanOrEqual(400)
    }
    const unable = await newKey({ scopes: ['api.files.read'] })
    expect((await refusal(mint(unable.value))).message).toContain('api.client_secrets.write')
    const silent = await newKey({ scopes: ['api.files.read', 'api.client_secrets.write'] })
    expect((await refusal(mint(silent.value))).param).toBe('scopes')
    const bound = await newKey({ allowed_origins: [] })
    expect((await mint(bound.value, { allowed_origins: ['a.example.com'] })).json.allowed_origins).toEqual([
      'a.example.com',
    ])
  })

  test('with an origin list of the key, only what it covers', async () => {
    const key = await newKey()
    await ask('POST', keyPath(key.id), { allowed_origins: ['*.example.com'] })
    const mintFrom = async (allowed_origins: string[]) => {
      const response = await fetch(`${platform.url}/v1/client_secrets`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${key.value}`,
          origin: 'https://x.example.com',
          'content-type': 'application/json',
        },
        body: JSON.stringify({ allowed_origins }),
      })
      return response.status
    }
    expect(await mintFrom(['a.example.com', '*.b.example.com'])).toBe(200)
    expect([await mintFrom(['evil-example.com']), await mintFrom(['example.com'])]).toEqual([400, 400])
  })

  test.each([
    ['DELETE', '', undefined, 'key_revoked'],
    ['POST', '/disable', undefined, 'key_disabled'],
    ['POST', '', { scopes: ['api.model.read'] }, 'key_revoked'],
    ['POST', '/rotate', { grace_seconds: 0 }, 'key_expired'],
  ])('die with their key: %s %s %j', async (method, verb, body, code) => {
    const key = await newKey()
    const { json: secret } = await mint(key.value)
    expect(await refused(secret.value)).toBeUndefined()
    expect(await eventsOf(() => ask(method, keyPath(key.id, verb), body))).toContain(platform.projectId)
    expect(await refused(secret.value)).toBe(code)
  })

  test('that are being minted while their key is revoked are told to every node as well', async () => {
    const { first, secrets, database, projectId } = platform
    const key = await newKey()
    const minted = Promise.withResolvers<string>()
    const mayCommit = Promise.withResolvers<void>()
    const minting = database.transaction(async tx => {
      const { value } = await mintKey(tx, secrets, {
        organizationId: first.organizationId,
        // As the database gave them
        projectId: projectId as ProjectId,
        mintedBy: key.id as ApiKeyId,
        kind: 'project',
        ownerUserId: null,
        name: 'slow',
        expiresAt: new Date(Date.now() + 60_000),
      })
      minted.resolve(value)
      await mayCommit.promise
    })
    const value = await minted.promise
    const events = await eventsOf(async () => {
      const revoking = ask('DELETE', keyPath(key.id))
      await sleep(200)
      mayCommit.resolve()
      await Promise.all([minting, revoking])
    })
    expect([events, await refused(value)]).toEqual([[projectId], 'key_revoked'])
  })

  test('stay as they were minted', async () => {
    const { value } = await newKey()
    const { json: secret } = await mint(value)
    for (const verb of ['', '/rotate', '/backup', '/disable']) {
      const error = await refusal(ask('POST', keyPath(secret.id, verb), verb === '' ? { name: 'x' } : {}))
      expect([verb, error.status, error.message]).toEqual([verb, 409, expect.stringContaining('is a client secret')])
    }
    expect((await ask('DELETE', keyPath(secret.id))).status).toBe(200)
    expect(await refused(secret.value)).toBe('key_revoked')
  })

  test('an admin key, a key of an archived project and a wrong project header mint none', async () => {
    expect((await refusal(mint(platform.first.adminKey))).message).toContain('Admin API keys manage the organization')
    const { json: short } = await ask('POST', '/v1/organization/projects', { name: 'short' })
    const { json: key } = await ask('POST', `/v1/organization/projects/${short.id}/api_keys`, { name: 'x' })
    await ask('POST', `/v1/organization/projects/${short.id}/archive`)
    expect(await refusal(mint(key.value))).toMatchObject({ status: 401, code: 'project_archived' })
    const response = await fetch(`${platform.url}/v1/client_secrets`, {
      method: 'POST',
      headers: { authorization: `Bearer ${(await newKey()).value}`, 'openai-project': short.id },
    })
    expect(response.status).toBe(401)
  })
})

describe('the secret of a key', () => {
  test('is in the answer to its making and in no table', async () => {
    const key = await newKey()
    const made = [
      key.value,
      (await ask('POST', keyPath(key.id, '/backup'))).json.value,
      (await ask('POST', keyPath(key.id, '/rotate'))).json.value,
      (await platform.send(platform.first.projectKey, 'POST', '/v1/client_secrets')).json.value,
      (await ask('POST', project('/service_accounts'), { name: 'x' })).json.api_key.value,
    ]
    const tables = await platform.database.query<{ name: string }>(
      sql("select tablename as name from pg_tables where schemaname = 'public'"),
    )
    for (const { name } of tables) {
      const [{ text } = { text: '' }] = await platform.database.query<{ text: string }>(
        sql(`select coalesce(string_agg(t::text, ' '), '') as text from "${name}" t`),
      )
      for (const value of made) expect([name, text.includes(secretBody(value))]).toEqual([name, false])
    }
    for (const value of made) expect(platform.logged.join()).not.toContain(secretBody(value))
  })
})
