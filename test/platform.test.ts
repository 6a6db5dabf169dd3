// The control plane's promises: who gets in, what crosses, what bad input gets, and that the official SDK works.
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isByteStream, isPublic } from '#contract/endpoint.ts'
import { allEndpoints } from '#contract/endpoints.ts'
import type { ProjectId } from '#contract/ids.ts'
import { nanoUsd } from '#core/money.ts'
import { firstStart } from '#platform/first-start.ts'
import { mintKey } from '#platform/mint-key.ts'
import { only, openDatabase, sql } from '#storage/database.ts'
import { rowOf, send, serve, type TestPlatform, testParts, testPlatform } from './support/platform.ts'
import { converse } from './support/raw-http.ts'

let platform: TestPlatform
let admin: string

beforeAll(async () => {
  platform = await testPlatform()
  admin = platform.first.adminKey
})
afterAll(() => platform?.stop())

const ask = (method: string, path: string, body?: unknown) => platform.send(admin, method, path, body)
const theirs = (method: string, path: string, body?: unknown) =>
  platform.send(platform.other.adminKey, method, path, body)
const project = (rest = '') => `/v1/organization/projects/${platform.projectId}${rest}`

async function keyWith(scopes: readonly string[], kind: 'admin' | 'project' = 'admin'): Promise<string> {
  const { database, secrets, first, projectId: id } = platform
  // As the database gave it
  const projectId = kind === 'admin' ? null : (id as ProjectId)
  const draft = { kind, projectId, ownerUserId: null, name: 'narrow' } as const
  const minted = await database.transaction(tx =>
    mintKey(tx, secrets, { ...draft, organizationId: first.organizationId, scopes }),
  )
  return minted.value
}

describe('every row of the contract', () => {
  const rows = allEndpoints.map(({ noun, verb, row }) => ({ name: `${noun}.${verb}`, row }))
  const guarded = rows.filter(({ row }) => row.scope !== null)
  const pathOf = (path: string) => path.replaceAll(/\{\w+\}/g, 'nothing')

  test('only the OpenAPI document, accepting an invitation and reporting a leak are public', () => {
    const open = rows.filter(({ row }) => isPublic(row)).map(({ name }) => name)
    expect(open).toEqual(['operations.openapi', 'invites.acceptPage', 'invites.accept', 'leaks.report', 'leaks.github'])
  })

  test.each(guarded)('$name answers 401 without a key, and to a key of another kind', async ({ row }) => {
    const nobody = await platform.send(null, row.method, pathOf(row.path))
    expect([nobody.status, nobody.json.error.message]).toEqual([401, expect.stringContaining('Authorization header')])
    const wrong = row.caller === 'project' ? admin : platform.first.projectKey
    const { status, json } = await platform.send(wrong, row.method, pathOf(row.path))
    const reason = row.caller === 'project' ? 'Use a project key' : 'admin API key'
    expect([status, json.error.message]).toEqual([401, expect.stringContaining(reason)])
  })

  test.each(guarded)('$name answers 401 to a key without its scope', async ({ row }) => {
    const narrow = await keyWith(['model.request'], row.caller === 'project' ? 'project' : 'admin')
    const { status, json } = await platform.send(narrow, row.method, pathOf(row.path))
    expect([status, json.error.code, json.error.message]).toEqual([
      401,
      'missing_scope',
      expect.stringContaining(String(row.scope)),
    ])
  })

  test('a key that changes providers and models takes no backup and restores none; a key for one does not do the other', async () => {
    const may = async (scopes: readonly string[]) => {
      const key = await keyWith(scopes)
      const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/gzip' }
      const answers = [
        await fetch(`${platform.url}/v1/platform/backup`, { headers }),
        await fetch(`${platform.url}/v1/platform/restore`, { method: 'POST', headers, body: 'a snapshot' }),
      ]
      return answers.map(({ status }) => status)
    }
    expect(await may(['api.platform.write', 'api.all.read', 'api.management.write'])).toEqual([401, 401])
    expect(await may(['api.platform.backup'])).toEqual([200, 401])
    expect(await may(['api.platform.restore'])).toEqual([401, 200])
    expect(await may([])).toEqual([200, 200])
  })

  test.each(guarded.filter(({ row }) => row.operatorOnly))('$name is for the operator alone', async ({ row }) => {
    const { status, json } = await theirs(row.method, pathOf(row.path))
    expect([status, json.error.message]).toEqual([403, expect.stringContaining('operates this Keyhouse')])
  })

  const named = guarded.filter(({ row }) => row.path.includes('{') && !('body' in row && row.body))
  test.each(named)('$name answers 404 to an id that is not there', async ({ row }) => {
    expect((await ask(row.method, pathOf(row.path))).status).toBe(404)
  })

  test('stands in the OpenAPI document, with its parameters', async () => {
    const { json } = await platform.send(null, 'GET', '/v1/openapi.json')
    for (const { row, name } of rows) {
      const operation = json.paths[row.path][row.method.toLowerCase()]
      expect(operation.operationId).toBe(name)
      for (const { name: parameter, schema } of operation.parameters)
        expect([parameter, Object.keys(schema)]).toEqual([parameter, expect.arrayContaining(['type'])])
      if (!isByteStream(row.answer))
        expect(operation.responses[200].content['application/json'].schema).toBeTypeOf('object')
    }
    expect(json.paths['/v1/organization/usage/completions'].get.parameters).toContainEqual(
      expect.objectContaining({ name: 'start_time', in: 'query', required: true }),
    )
    expect(JSON.stringify(json)).not.toContain('$defs')
    for (const [, name = ''] of JSON.stringify(json).matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
      expect(json.components.schemas).toHaveProperty(name)
    }
  })
})

describe('keys', () => {
  test('what cannot be a key, what we do not know, and what was revoked are refused with the reason', async () => {
    const revoked = (await ask('POST', '/v1/organization/admin_api_keys', { name: 'gone' })).json
    await ask('DELETE', `/v1/organization/admin_api_keys/${revoked.id}`)
    const cases = [
      ['not-a-key', 'Keyhouse keys begin with sk-kh-'],
      [`${admin.slice(0, -1)}!`, 'cut or with extra characters'],
      [revoked.value, 'has been revoked'],
    ] as const
    for (const [key, reason] of cases) {
      const { status, json } = await platform.send(key, 'GET', '/v1/organization/projects')
      expect([status, json.error.code]).toEqual([401, 'invalid_api_key'])
      expect(json.error.message).toContain(reason)
    }
    const inUrl = await platform.send(null, 'GET', `/v1/organization/projects?api_key=${admin}`)
    expect([inUrl.status, inUrl.json.error.message]).toEqual([401, expect.stringContaining('sent in the URL')])
  })

  test('an expired admin key is refused', async () => {
    const { json } = await ask('POST', '/v1/organization/admin_api_keys', { name: 'short', expires_in_seconds: 60 })
    await platform.database.query(sql("update api_keys set expires_at = now() - interval '1 second' where id = $1"), [
      json.id,
    ])
    const { status, json: body } = await platform.send(json.value, 'GET', '/v1/organization/projects')
    expect([status, body.error.message]).toEqual([401, expect.stringContaining('expired at')])
  })

  test('the organization that a request names must be the one of its key', async () => {
    const response = await fetch(`${platform.url}/v1/organization/projects`, {
      headers: { authorization: `Bearer ${admin}`, 'openai-organization': platform.other.organizationId },
    })
    expect([response.status, await response.json()]).toEqual([
      401,
      { error: expect.objectContaining({ code: 'mismatched_organization' }) },
    ])
  })

  test('a secret is shown once and stored nowhere', async () => {
    const { json } = await ask('POST', project('/api_keys'), { name: 'once', scopes: ['model.request'] })
    expect(json).toMatchObject({ name: 'once', scopes: ['model.request'], kind: 'project', expires_at: null })
    expect(json.value).toMatch(/^sk-kh-proj-[0-9A-Za-z]{49}$/)
    const again = await ask('GET', project(`/api_keys/${json.id}`))
    expect(again.text).not.toContain(json.value)
    const rows = await platform.database.query(sql('select * from api_keys'))
    expect(JSON.stringify(rows)).not.toContain(json.value.slice(12))
  })

  test('a test key is asked for by name, and an archived project takes no key', async () => {
    const { json: made } = await ask('POST', '/v1/organization/projects', { name: 'Short-lived' })
    const keys = `/v1/organization/projects/${made.id}/api_keys`
    const { json: key } = await ask('POST', keys, { name: 'rehearsal', test: true, expires_in_seconds: 60 })
    expect([key.kind, key.value.slice(0, 11)]).toEqual(['test', 'sk-kh-test-'])
    expect(key.expires_at - key.created_at).toBeGreaterThanOrEqual(59)
    expect((await ask('POST', `/v1/organization/projects/${made.id}/archive`)).json.status).toBe('archived')
    expect((await ask('POST', keys, { name: 'too late' })).status).toBe(409)
    const listed = (await ask('GET', '/v1/organization/projects')).json.data.map((row: { id: string }) => row.id)
    expect(listed).not.toContain(made.id)
    const all = (await ask('GET', '/v1/organization/projects?include_archived=true')).json.data
    expect(all.map((row: { id: string }) => row.id)).toContain(made.id)
  })

  test('a revoked key is gone from the API and stays in the books', async () => {
    const { json } = await ask('POST', project('/api_keys'), { name: 'to revoke' })
    const path = project(`/api_keys/${json.id}`)
    expect((await ask('DELETE', path)).json).toEqual({
      id: json.id,
      object: 'organization.project.api_key.deleted',
      deleted: true,
    })
    expect([(await ask('GET', path)).status, (await ask('DELETE', path)).status]).toEqual([404, 404])
    const rows = await platform.database.query(sql('select revoked_at from api_keys where id = $1'), [json.id])
    expect(rows).toEqual([{ revoked_at: expect.any(Date) }])
  })

  test('a narrow admin key makes no key that may do more', async () => {
    const narrow = await keyWith(['api.organization.admin_api_keys.write'])
    const { json } = await platform.send(narrow, 'POST', '/v1/organization/admin_api_keys', { name: 'child' })
    expect((await platform.send(json.value, 'GET', '/v1/organization/projects')).status).toBe(401)
  })

  test('an admin key that was disabled is refused until it is enabled, and the last one that works stays', async () => {
    const { organizationId, adminKey } = platform.other
    const path = '/v1/organization/admin_api_keys'
    const key = (await theirs('POST', path, { name: 'on and off' })).json
    const asked = async () => (await platform.send(key.value, 'GET', path)).json.error?.code
    expect((await theirs('POST', `${path}/${key.id}/disable`)).json.status).toBe('disabled')
    expect([await asked(), (await theirs('GET', `${path}/${key.id}`)).json.status]).toEqual([
      'key_disabled',
      'disabled',
    ])
    const [{ id: first }] = (await theirs('GET', path)).json.data
    for (const [method, verb] of [
      ['POST', '/disable'],
      ['DELETE', ''],
    ] as const) {
      const { status, json } = await theirs(method, `${path}/${first}${verb}`)
      expect([status, json.error?.message]).toEqual([409, expect.stringContaining('last admin API key that works')])
    }
    expect((await theirs('POST', `${path}/${key.id}/enable`)).json.status).toBe('active')
    expect(await asked()).toBeUndefined()
    expect((await platform.send(key.value, 'POST', `${path}/${first}/disable`)).status).toBe(200)
    expect((await platform.send(adminKey, 'GET', path)).json.error.code).toBe('key_disabled')
    await platform.send(key.value, 'POST', `${path}/${first}/enable`)
    const entries = sql(
      "select entry from audit_logs where organization_id = $1 and resource_id = $2 and type = 'api_key.updated' order by number",
    )
    const seen = await platform.database.query<{ entry: string }>(entries, [organizationId, key.id])
    expect(seen.map(({ entry }) => JSON.parse(entry)['api_key.updated'].changes_requested)).toEqual([
      { disabled: true },
      { disabled: false },
    ])
    await theirs('DELETE', `${path}/${key.id}`)
  })

  test('a key of somebody who left, of no owner, or that makes no keys, is not what the last one is left to', async () => {
    const { organizationId } = platform.other
    const path = '/v1/organization/admin_api_keys'
    const [{ id: first }] = (await theirs('GET', path)).json.data
    const narrow = (await theirs('POST', path, { name: 'reads', scopes: ['api.all.read'] })).json
    const keyOf = async (role: 'owner' | 'reader') => {
      const { json } = await theirs('POST', '/v1/organization/invites', { email: `${role}@other.example`, role })
      const { json: user } = await platform.send(null, 'POST', '/v1/organization/invites/accept', {
        token: json.token,
        name: role,
      })
      const draft = { kind: 'admin', organizationId, projectId: null, ownerUserId: user.id, name: role } as const
      const { id } = await platform.database.transaction(tx => mintKey(tx, platform.secrets, draft))
      return { id, user: user.id }
    }
    const reader = await keyOf('reader')
    const left = await keyOf('owner')
    await theirs('DELETE', `/v1/organization/users/${left.user}`)
    expect((await theirs('DELETE', `${path}/${first}`)).status).toBe(409)
    expect((await theirs('POST', `${path}/${first}/disable`)).status).toBe(409)
    for (const { id } of [narrow, reader, left]) expect((await theirs('DELETE', `${path}/${id}`)).status).toBe(200)
  })

  test('the last admin key cannot be deleted, and two callers cannot delete the last two', async () => {
    const { organizationId, adminKey } = platform.other
    const path = '/v1/organization/admin_api_keys'
    const [{ id: first }] = (await theirs('GET', path)).json.data
    const alone = await theirs('DELETE', `${path}/${first}`)
    expect([alone.status, alone.json.error.message]).toEqual([409, expect.stringContaining('last admin API key')])
    const living = sql("select id from api_keys where organization_id = $1 and kind = 'admin' and revoked_at is null")
    for (let round = 0; round < 20; round += 1) {
      const second = (await theirs('POST', path, { name: 'second' })).json
      const both = await Promise.all([
        platform.send(adminKey, 'DELETE', `${path}/${second.id}`),
        platform.send(second.value, 'DELETE', `${path}/${first}`),
      ])
      // Whoever comes second finds its own key revoked, or the other one the last
      expect(both.filter(({ status }) => status === 200)).toHaveLength(1)
      expect(await platform.database.query(living, [organizationId])).toHaveLength(1)
      const reset = 'update api_keys set revoked_at = case when id <> $2 then now() end where organization_id = $1'
      await platform.database.query(sql(reset), [organizationId, first])
    }
  })
})

describe('two organizations', () => {
  test('nothing of one is to be seen, changed or named by the other', async () => {
    const key = (await ask('POST', project('/api_keys'), { name: 'ours' })).json
    const ownAdmin = (await ask('GET', '/v1/organization/admin_api_keys')).json.data[0].id
    const attempts = [
      ['GET', project()],
      ['POST', project(), { name: 'taken over' }],
      ['POST', project('/archive')],
      ['GET', project('/api_keys')],
      ['POST', project('/api_keys'), { name: 'intruder' }],
      ['GET', project(`/api_keys/${key.id}`)],
      ['DELETE', project(`/api_keys/${key.id}`)],
      // A key of ours under a project of theirs
      ['GET', `/v1/organization/projects/${platform.other.projectId}/api_keys/${key.id}`],
      ['DELETE', `/v1/organization/projects/${platform.other.projectId}/api_keys/${key.id}`],
      ['GET', project('/rate_limits')],
      ['POST', project('/rate_limits/rl-*'), { max_requests_per_1_minute: 1 }],
      ['GET', `/v1/organization/admin_api_keys/${ownAdmin}`],
      ['DELETE', `/v1/organization/admin_api_keys/${ownAdmin}`],
    ] as const
    for (const [method, path, body] of attempts) {
      expect([method, path, (await theirs(method, path, body)).status]).toEqual([method, path, 404])
    }
    expect((await ask('GET', project())).json).toMatchObject({ name: 'Default project', status: 'active' })
    expect((await ask('GET', project(`/api_keys/${key.id}`))).status).toBe(200)
  })

  test('lists hold their own, and a cursor from elsewhere leads nowhere', async () => {
    const { json } = await theirs('GET', '/v1/organization/projects')
    expect(json.data.map((row: { id: string }) => row.id)).toEqual([platform.other.projectId])
    const stray = await theirs('GET', `/v1/organization/projects?after=${platform.projectId}`)
    expect(stray.json.data).toEqual([])
    const balance = await theirs('GET', '/v1/organization/credit_balance')
    expect(balance.json).toMatchObject({ available_usd: '0.00', reserved_usd: '0.00' })
  })
})

describe('lists', () => {
  test('pages follow one another in both orders, and nothing is seen twice', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) await theirs('POST', '/v1/organization/projects', { name })
    for (const order of ['asc', 'desc']) {
      const seen: string[] = []
      let after = ''
      for (let more = true; more; ) {
        const { json } = await theirs('GET', `/v1/organization/projects?limit=2&order=${order}${after}`)
        seen.push(...json.data.map((row: { name: string }) => row.name))
        expect([json.first_id, json.last_id]).toEqual([json.data[0].id, json.data.at(-1).id])
        after = `&after=${json.last_id}`
        more = json.has_more
      }
      const expected = ['Theirs', 'a', 'b', 'c', 'd', 'e']
      expect(seen).toEqual(order === 'asc' ? expected : expected.toReversed())
    }
  })
})

describe('bad input', () => {
  const json = { 'content-type': 'application/json' }
  const post = async (path: string, body: string | undefined, headers: Record<string, string> = json) => {
    const init = { method: 'POST', headers: { authorization: `Bearer ${admin}`, ...headers } }
    const response = await fetch(platform.url + path, { ...init, ...(body !== undefined && { body }) })
    // The envelope, which every error has
    const { error } = (await response.json()) as { error: { message: string } }
    return { status: response.status, ...error }
  }

  test.each([
    ['{', 400, null, 'could not parse the JSON body'],
    ['[]', 400, null, 'must be a JSON object, but got an array of 0'],
    ['', 400, null, 'has no body'],
    ['{}', 400, 'name', "Missing required parameter: 'name'."],
    ['{"name":7}', 400, 'name', "Invalid type for 'name': expected a string, but got 7 instead."],
    ['{"name":""}', 400, 'name', "Invalid 'name': expected at least 1 characters"],
    ['{"name":"x","nmae":"y"}', 400, 'nmae', "Unknown parameter: 'nmae'."],
    ['{"name":"x","__proto__":{}}', 400, '__proto__', "Unknown parameter: '__proto__'."],
  ])('%s', async (body, status, param, message) => {
    const error = await post('/v1/organization/projects', body)
    expect(error).toMatchObject({ status, param, message: expect.stringContaining(message) })
  })

  test('a body that is too large is refused with its own bound, and no setting that would not help', async () => {
    const refused = await post('/v1/organization/projects', JSON.stringify({ name: 'x'.repeat(1_000_001) }))
    expect(refused).toMatchObject({ status: 413, code: 'request_too_large' })
    expect(refused.message).toContain('(1000000 bytes). No setting changes that bound')
    expect(refused.message).not.toContain('body-bytes-max')
  })

  test('a body of another type, or compressed, is refused', async () => {
    const path = '/v1/organization/projects'
    expect(await post(path, 'name=x', { 'content-type': 'application/x-www-form-urlencoded' })).toMatchObject({
      status: 415,
      code: 'unsupported_content_type',
    })
    expect(await post(path, '{"name":"x"}', { ...json, 'content-encoding': 'gzip' })).toMatchObject({ status: 415 })
    expect(await post(path, 'x', { 'content-type': 'application/gzip' })).toMatchObject({ status: 415 })
    expect(await post('/v1/platform/restore', '{}')).toMatchObject({ status: 415 })
  })

  test('members of members are named where they stand', async () => {
    const body = { name: 'x', base_url: 'http://127.0.0.1:1/v1', models: [{ name: 'm', inputs: 1 }] }
    expect((await ask('POST', '/v1/platform/providers', body)).json.error.param).toBe('models[0].inputs')
    const scopes = await ask('POST', project('/api_keys'), { name: 'x', scopes: ['model.request', 'everything'] })
    expect(scopes.json.error).toMatchObject({ param: 'scopes[1]', message: expect.stringContaining("'model.request'") })
  })

  test.each([
    ['limit=0', 'limit', 'expected at least 1'],
    ['limit=101', 'limit', 'expected at most 100'],
    ['limit=many', 'limit', "expected a number, but got 'many'"],
    ['limit=', 'limit', "expected a number, but got ''"],
    ['limit=0x10', 'limit', "expected a number, but got '0x10'"],
    ['limit=2.5', 'limit', "expected an integer, but got '2.5'"],
    ['limit=1&limit=2', 'limit', 'expected a number'],
    ['order=up', 'order', "expected one of 'asc', 'desc'"],
    ['colour=red', 'colour', "Unknown parameter: 'colour'."],
  ])('?%s', async (query, param, message) => {
    const { status, json } = await ask('GET', `/v1/organization/projects?${query}`)
    expect([status, json.error.param]).toEqual([400, param])
    expect(json.error.message).toContain(message)
  })

  test('what a row does not take, in its query or its body', async () => {
    const { organizationId } = platform.first
    const attempts = [
      ask('GET', `/v1/organization/projects/${platform.projectId}?expand=keys`),
      ask('POST', '/v1/organization/projects?dry_run=true', { name: 'not dry' }),
      ask('DELETE', `${project('/api_keys')}/key_nobody?force=true`),
      ask('DELETE', `${project('/api_keys')}/key_nobody`, { force: true }),
      ask('POST', `${project('/archive')}`, { organizationId }),
    ]
    const params = (await Promise.all(attempts)).map(({ status, json }) => [status, json.error.code, json.error.param])
    expect(params).toEqual(
      ['expand', 'dry_run', 'force', 'force', 'organizationId'].map(param => [400, 'unknown_parameter', param]),
    )
    expect((await fetch(`${platform.url}/v1/organization/invites/accept?utm_source=mail`)).status).toBe(200)
  })

  test('one of several in one text is named with what is wrong with it', async () => {
    const { json } = await ask('GET', `/v1/organization/audit_logs?project_ids=${'x'.repeat(400)}`)
    expect(json.error).toMatchObject({ param: 'project_ids[0]', code: 'invalid_value' })
    expect(json.error.message).toContain('expected at most 320 characters')
  })

  test('a key in the URL is refused wherever the query may begin', async () => {
    for (const tail of [`?key=${admin}`, `??key=${admin}`, `#key=${admin}`]) {
      const head = `GET /v1/organization/projects${tail} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${admin}`
      const { statuses, body } = await converse(platform.url, [`${head}\r\n\r\n`])
      expect([tail, ...statuses]).toEqual([tail, 401])
      expect(body).toContain('sent in the URL')
    }
  })

  test('unknown paths and verbs', async () => {
    const unknown = await ask('GET', '/v1/organization/nothing?x=1')
    expect([unknown.status, unknown.json.error.message]).toEqual([
      404,
      'Invalid URL (GET /v1/organization/nothing). Keyhouse has no such endpoint; GET /v1/openapi.json lists those that it has.',
    ])
    const bare = await ask('GET', '/models')
    expect(bare.json.error.message).toContain('The API lives under /v1')
    const verb = await ask('DELETE', '/v1/organization/projects')
    expect([verb.status, verb.headers.get('allow')]).toEqual([405, 'GET, POST'])
    const bad = await ask('GET', '/v1/organization/projects/%zz')
    expect([bad.status, bad.json.error.message]).toEqual([404, expect.stringContaining('Invalid URL')])
    const long = await ask('GET', `/v1/organization/projects/${'x'.repeat(3_000)}`)
    expect(long.status).toBe(404)
  })

  test('a secret that was sent in the wrong form is not echoed', async () => {
    const { text } = await ask('POST', '/v1/platform/providers', { name: 'x', api_key: 'sk-very secret' })
    expect(text).toContain("Invalid 'api_key'")
    expect(text).not.toContain('very')
  })

  test('a key that was sent where none belongs is not echoed, and not kept', async () => {
    const value = (await ask('POST', project('/api_keys'), { name: 'misplaced' })).json.value as string
    const misplaced = [
      ask('POST', '/v1/organization/invites', { email: 'a@example.com', role: value }),
      ask('POST', '/v1/organization/invites', { email: value, role: 'reader' }),
      ask('POST', '/v1/organization/roles', { role_name: 'x', permissions: [value] }),
      ask('POST', project('/api_keys'), { name: 'x', scopes: [value] }),
      ask('POST', project('/users'), { user_id: 'x', role: value }),
      ask('POST', '/v1/organization/projects', { name: 'x', [value]: true }),
      ask('GET', `/v1/organization/projects?${value}=1`),
      ask('GET', `/v1/${value}`),
    ]
    for (const { status, text } of await Promise.all(misplaced)) {
      expect(status).toBeGreaterThanOrEqual(400)
      expect(text).not.toContain(value)
    }
    const headers = { authorization: `Bearer ${admin}`, 'content-type': 'application/json', 'user-agent': value }
    const body = JSON.stringify({ name: 'by a strange client' })
    const made = await fetch(`${platform.url}/v1/organization/projects`, { method: 'POST', headers, body })
    const { id } = (await made.json()) as { id: string }
    const entries = sql('select entry from audit_logs where resource_id = $1')
    const [{ entry } = { entry: '' }] = await platform.database.query<{ entry: string }>(entries, [id])
    expect(entry).toContain(`sk-kh-proj-****${value.slice(-4)}`)
    expect(entry).not.toContain(value)
  })
})

describe('what goes wrong on our side', () => {
  test('with the database away every row says so, and that a retry may help', async () => {
    const { secrets, localModels } = platform
    const database = openDatabase(
      { connection: { host: '/nowhere' }, connectionsMax: 1, connectTimeoutMs: 500, statementTimeoutMs: 500 },
      () => undefined,
    )
    const server = await serve(testParts({ database, secrets, localModels, logged: [] }))
    try {
      const { status, json, headers } = await send(server.url, admin, 'GET', '/v1/organization/projects')
      expect([status, json.error.code, headers.get('x-should-retry')]).toEqual([503, 'storage_unavailable', null])
    } finally {
      await server.stop()
      await database.close()
    }
  })

  test('a bug becomes a 500 with a request id, and what it was stays in our log', async () => {
    const { secrets, database, localModels } = platform
    const logged: string[] = []
    const parts = testParts({ database, secrets, localModels, logged })
    const status = () => Promise.reject(new TypeError('the inside of the machine'))
    const server = await serve({ ...parts, status })
    try {
      const answer = await send(server.url, admin, 'GET', '/v1/platform/status')
      expect([answer.status, answer.json.error.type]).toEqual([500, 'server_error'])
      expect(answer.text).not.toContain('machine')
      expect(answer.json.error.message).toContain(answer.headers.get('x-request-id'))
      expect(logged.join()).toContain('the inside of the machine')
    } finally {
      await server.stop()
    }
  })
})

async function everything<Item>(pages: AsyncIterable<Item>): Promise<Item[]> {
  const items: Item[] = []
  for await (const item of pages) items.push(item)
  return items
}

describe('the official SDK', () => {
  const client = () =>
    new OpenAI({ adminAPIKey: admin, apiKey: 'unused', baseURL: `${platform.url}/v1`, maxRetries: 0 })

  test('admin keys', async () => {
    const { adminAPIKeys } = client().admin.organization
    const made = await adminAPIKeys.create({ name: 'from the SDK', expires_in_seconds: 3_600 })
    expect(made.value).toMatch(/^sk-kh-admin-/)
    expect(await adminAPIKeys.retrieve(made.id)).toMatchObject({
      id: made.id,
      name: 'from the SDK',
      owner: { name: 'Owner' },
    })
    const all = await everything(adminAPIKeys.list({ limit: 1, order: 'desc' }))
    expect(all.map(({ id }) => id)).toContain(made.id)
    expect(await adminAPIKeys.delete(made.id)).toMatchObject({ deleted: true })
    await expect(adminAPIKeys.retrieve(made.id)).rejects.toBeInstanceOf(OpenAI.NotFoundError)
  })

  test('projects and their keys', async () => {
    const { projects } = client().admin.organization
    const made = await projects.create({ name: 'SDK project' })
    expect(await projects.update(made.id, { name: 'Renamed' })).toMatchObject({ name: 'Renamed', status: 'active' })
    expect(await projects.retrieve(made.id)).toMatchObject({ object: 'organization.project', name: 'Renamed' })
    for (const name of ['one', 'two', 'three'])
      await ask('POST', `/v1/organization/projects/${made.id}/api_keys`, { name })
    const keys = await everything(projects.apiKeys.list(made.id, { limit: 2 }))
    expect(keys.map(({ name }) => name)).toEqual(['one', 'two', 'three'])
    const id = keys[0]?.id ?? ''
    expect(await projects.apiKeys.retrieve(id, { project_id: made.id })).toMatchObject({ id, owner: { type: 'user' } })
    expect(await projects.apiKeys.delete(id, { project_id: made.id })).toMatchObject({ deleted: true })
    expect(await projects.archive(made.id)).toMatchObject({ status: 'archived' })
    const listed = await everything(projects.list({ include_archived: true, limit: 1 }))
    expect(listed.map(row => row.id)).toContain(made.id)
  })

  test('rate limits', async () => {
    const { rateLimits } = client().admin.organization.projects
    const id = 'rl-tinyllama-1.1b-chat'
    const set = await rateLimits.updateRateLimit(id, { project_id: platform.projectId, max_requests_per_1_minute: 7 })
    expect(set).toMatchObject({ id, max_requests_per_1_minute: 7, max_tokens_per_1_minute: 100_000 })
    const all = await everything(rateLimits.listRateLimits(platform.projectId, { limit: 3 }))
    expect(all.map(row => row.model)).toEqual(expect.arrayContaining(['*', 'all-minilm-l6-v2', 'keyhouse-test-chat']))
    expect(all.find(row => row.id === id)?.max_requests_per_1_minute).toBe(7)
    const above = rateLimits.updateRateLimit(id, { project_id: platform.projectId, max_requests_per_1_minute: 1_001 })
    await expect(above).rejects.toThrow("more than the organization's limit of 1000")
    const unknown = rateLimits.updateRateLimit('rl-no-model', { project_id: platform.projectId })
    await expect(unknown).rejects.toBeInstanceOf(OpenAI.NotFoundError)
  })
})

describe('what changes is told to every node', () => {
  const newest = async () =>
    platform.database.query<{ id: bigint; subject_kind: string; subject_id: string }>(
      sql('select id, subject_kind, subject_id from auth_events order by id'),
    )

  test('each change writes one event, named after what changed', async () => {
    const made = (await ask('POST', '/v1/organization/projects', { name: 'Watched' })).json
    const path = `/v1/organization/projects/${made.id}`
    const key = (await ask('POST', `${path}/api_keys`, { name: 'watched' })).json
    const before = (await newest()).length
    const changes = [
      ['POST', `${path}/rate_limits/rl-*`, { max_tokens_per_1_minute: 5 }, 'project', made.id],
      ['DELETE', `${path}/api_keys/${key.id}`, undefined, 'api_key', key.id],
      ['POST', `${path}/archive`, undefined, 'project', made.id],
      ['POST', '/v1/platform/model_aliases', { alias: 'watched', model: 'keyhouse-test-chat' }, 'catalogue', ''],
      ['DELETE', '/v1/platform/model_aliases/watched', undefined, 'catalogue', ''],
    ] as const
    for (const [method, where, body] of changes) expect((await ask(method, where, body)).status).toBe(200)
    const written = (await newest()).slice(before).map(({ subject_kind, subject_id }) => [subject_kind, subject_id])
    expect(written).toEqual(changes.map(([, , , kind, id]) => [kind, id]))
  })

  test('what was refused writes none', async () => {
    const before = (await newest()).length
    await ask('DELETE', project('/api_keys/key_nothing'))
    await theirs('POST', project('/archive'))
    await ask('DELETE', '/v1/platform/models/nothing')
    expect(await newest()).toHaveLength(before)
  })
})

describe('credit', () => {
  test('a grant is in the balance, once for each reference', async () => {
    const before = (await ask('GET', '/v1/organization/credit_balance')).json
    expect(before).toEqual({
      object: 'organization.credit_balance',
      available_usd: '100.00',
      reserved_usd: '0.00',
      by_kind: { purchased_usd: '0.00', promotional_usd: '0.00', free_usd: '100.00' },
      next_expiry: null,
      currency: 'usd',
    })
    const grant = { amount_usd: '12.345678901', reference: 'invoice 7', note: 'thank you' }
    const answers = await Promise.all([1, 2, 3].map(() => ask('POST', '/v1/organization/credit_grants', grant)))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409])
    expect((await ask('GET', '/v1/organization/credit_balance')).json.available_usd).toBe('112.345678901')
    const noted = sql("select note from ledger_transactions where reference = 'grant invoice 7'")
    expect(await platform.database.query(noted)).toEqual([{ note: 'thank you' }])
    const sum = only(
      await platform.database.query<{ sum: bigint }>(
        sql('select sum(balance_nano_usd)::bigint as sum from ledger_accounts'),
      ),
    )
    expect(sum.sum).toBe(0n)
  })

  test.each(['0', '-1', '1e3', '0.0000000001', '', true])('an amount of %j is refused', async amount_usd => {
    const { status, json } = await ask('POST', '/v1/organization/credit_grants', { amount_usd })
    expect([status, json.error.param]).toEqual([400, 'amount_usd'])
  })
})

describe('the first start', () => {
  test('happens once, and never again on a database that has an organization', async () => {
    const { database, secrets } = platform
    expect(await firstStart({ database, secrets, firstCreditUsd: nanoUsd(1n) })).toBeUndefined()
  })
})

test('status, config, backup and restore speak for the server', async () => {
  expect((await ask('GET', '/v1/platform/status')).json).toMatchObject({ credit: { reserved_usd: '0.00' } })
  expect((await ask('GET', '/v1/platform/config')).json.data[0]).toMatchObject({
    name: 'port',
    description: 'TCP port.',
  })
  const backup = await ask('GET', '/v1/platform/backup')
  expect([backup.headers.get('content-type'), backup.text]).toEqual(['application/gzip', 'a snapshot'])
  const response = await fetch(`${platform.url}/v1/platform/restore`, {
    method: 'POST',
    headers: { authorization: `Bearer ${admin}`, 'content-type': 'application/gzip' },
    // More than a JSON body may have
    body: Buffer.alloc(2_000_000),
  })
  expect(await response.json()).toEqual({ object: 'platform.restore', tables: 1, rows: 2_000_000, schema: 1 })
})

test('HEAD answers where GET does', async () => {
  const head = await fetch(`${platform.url}/v1/organization/projects`, {
    method: 'HEAD',
    headers: { authorization: `Bearer ${admin}` },
  })
  expect([head.status, await head.text()]).toEqual([200, ''])
  expect(rowOf('GET', '/v1/organization/projects').summary).toBe('List projects.')
})
