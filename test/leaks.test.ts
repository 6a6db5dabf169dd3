// Keys found in the open: from GitHub, signed, and from anyone who holds one. A living one is dead within a second.
import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { makeKey } from '#core/key-format.ts'
import { fetchKeys, leakKeys, readKeysFile } from '#platform/leak-keys.ts'
import { loadConfig } from '#src/config.ts'
import { memoryCounters } from '#storage/counters.ts'
import { sql } from '#storage/database.ts'
import { startGateway, type TestGateway } from './support/gateway.ts'
import { send, serve, type TestPlatform, testParts, testPlatform } from './support/platform.ts'

let platform: TestPlatform
beforeAll(async () => {
  platform = await testPlatform()
})
afterAll(() => platform?.stop())

const ask = (method: string, path: string, body?: unknown) => platform.send(platform.first.adminKey, method, path, body)
const keys = (rest = '') => `/v1/organization/projects/${platform.projectId}/api_keys${rest}`
const newKey = async (body: object = {}) => (await ask('POST', keys(), { name: 'leaky', ...body })).json
const run = (text: string, values: readonly unknown[] = []) => platform.database.query(sql(text), values)
const statusOf = async (id: string) => (await ask('GET', keys(`/${id}`))).json.status
const reportsOf = (id: string) =>
  run('select source, url, was_live from leak_reports where api_key_id = $1 order by reported_at', [id])
const auditOf = async (id: string) =>
  (await ask('GET', `/v1/organization/audit_logs?resource_ids=${id}&event_types=api_key.updated`)).json.data
const unknownKey = makeKey('project', bytes => new Uint8Array(bytes).fill(3))

/** A platform of its own over the same database: other counters, other keys. */
async function another(changes: object) {
  const { database, secrets, localModels } = platform
  const counters = memoryCounters(() => performance.now())
  const server = await serve({ ...testParts({ database, secrets, localModels, logged: [] }), counters, ...changes })
  stops.push(() => server.stop())
  return server.url
}
const stops: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
})

describe('a key that anyone hands in', () => {
  const report = (key: string, more: object = {}) => platform.send(null, 'POST', '/v1/leaks', { key, ...more })

  test('is disabled, and the audit log says where it was found and from where it was handed in', async () => {
    const key = await newKey()
    const url = 'https://paste.example.com/x'
    const { status, json } = await report(`  ${key.value}\n`, { url, source: 'a paste' })
    expect([status, json]).toEqual([200, { matched: true }])
    expect(await statusOf(key.id)).toBe('disabled')
    const refused = await platform.send(key.value, 'GET', '/v1/me')
    expect([refused.status, refused.json.error.code]).toEqual([401, 'key_disabled'])
    expect(await reportsOf(key.id)).toEqual([{ source: 'a paste', url, was_live: true }])
    const [entry] = await auditOf(key.id)
    expect(entry).toMatchObject({
      project: { id: platform.projectId },
      actor: { type: 'api_key', api_key: { id: key.id, ip_address: '127.0.0.1' } },
      'api_key.updated': { id: key.id, changes_requested: { disabled: true, leak: { source: 'a paste', url } } },
    })
    const events = await run('select subject_id from auth_events order by id desc limit 1')
    expect(events).toEqual([{ subject_id: key.id }])
  })

  test('takes its client secrets along, and its sleeping backup key is disabled when that is found', async () => {
    const key = await newKey({ scopes: ['model.request', 'api.client_secrets.write'] })
    const secret = (await platform.send(key.value, 'POST', '/v1/client_secrets', {})).json
    const backup = (await ask('POST', keys(`/${key.id}/backup`), {})).json
    expect((await report(backup.value)).json).toEqual({ matched: true })
    expect(await statusOf(backup.id)).toBe('disabled')
    await report(key.value)
    expect((await platform.send(secret.value, 'GET', '/v1/me')).json.error.code).toBe('key_disabled')
  })

  test('may be an admin key', async () => {
    const { json: key } = await ask('POST', '/v1/organization/admin_api_keys', { name: 'leaked' })
    expect((await report(key.value)).json).toEqual({ matched: true })
    expect((await platform.send(key.value, 'GET', '/v1/me')).json.error.code).toBe('key_disabled')
  })

  test('that is dead already is kept as a report, once for each place, and changes nothing', async () => {
    const key = await newKey()
    await ask('DELETE', keys(`/${key.id}`))
    for (const url of ['https://a.example', 'https://a.example', 'https://b.example']) {
      expect((await report(key.value, { url })).json).toEqual({ matched: true })
    }
    expect(await reportsOf(key.id)).toHaveLength(2)
    expect(
      (await auditOf(key.id)).map(
        (entry: Record<string, { changes_requested: object }>) => entry['api_key.updated']?.changes_requested,
      ),
    ).toEqual([
      { leak: { source: 'a report', url: 'https://b.example' } },
      { leak: { source: 'a report', url: 'https://a.example' } },
    ])
  })

  test('reported from a hundred places is kept a hundred times, and no more', async () => {
    const key = await newKey()
    await run(
      "insert into leak_reports select 'leak_' || n || $1, $1, 'x', 'u' || n, false from generate_series(1, 100) n",
      [key.id],
    )
    expect((await report(key.value)).json).toEqual({ matched: true })
    expect(await statusOf(key.id)).toBe('disabled')
    const kept = (await reportsOf(key.id)).length
    await report(key.value, { url: 'https://one.more' })
    expect(await reportsOf(key.id)).toHaveLength(kept)
  })

  test('is written down nowhere, even where the place holds it', async () => {
    const key = await newKey()
    await report(key.value, { url: `https://example.com/?key=${key.value}`, source: `found ${key.value}` })
    const [row] = await reportsOf(key.id)
    const text = JSON.stringify([row, await auditOf(key.id)])
    expect(text).toContain('https://example.com/?key=sk-kh-proj-****')
    expect(text).not.toContain(key.value.slice(12, 40))
  })

  test.each([unknownKey, 'sk-proj-something', `${unknownKey}x`, 'x'])(
    'that is none of ours is not matched: %s',
    async key => {
      const before = (await run('select count(*) from leak_reports'))[0]
      expect((await report(key)).json).toEqual({ matched: false })
      expect((await run('select count(*) from leak_reports'))[0]).toEqual(before)
    },
  )

  test.each([
    [{}, 'key'],
    [{ key: 'x', url: 'a\nb' }, 'url'],
    [{ key: 'x', source: 'a\u0000b' }, 'source'],
    [{ key: 'x'.repeat(501) }, 'key'],
    [{ key: 'x', more: 1 }, 'more'],
  ])('%j is refused for its %s', async (body, param) => {
    const { status, json } = await platform.send(null, 'POST', '/v1/leaks', body)
    expect([status, json.error.param]).toEqual([400, param])
  })

  test('from one address thirty times a minute, and then not', async () => {
    const url = await another({})
    const statuses: number[] = []
    for (let turn = 0; turn < 32; turn += 1) {
      statuses.push((await send(url, null, 'POST', '/v1/leaks', { key: 'x' })).status)
    }
    expect(statuses.filter(status => status === 200)).toHaveLength(30)
    expect(statuses.at(-1)).toBe(429)
  })
})

const p256 = () => generateKeyPairSync('ec', { namedCurve: 'P-256' })
const published = (all: Readonly<Record<string, KeyObject>>): string =>
  JSON.stringify({
    public_keys: Object.entries(all).map(([key_identifier, key]) => ({
      key_identifier,
      key: key.export({ type: 'spki', format: 'pem' }),
      is_current: true,
    })),
  })

describe("GitHub's report", () => {
  const ours = p256()
  const source = leakKeys(
    async () => published({ 'key-1': ours.publicKey }),
    () => performance.now(),
  )
  const signed = (body: string, key = ours.privateKey) => sign('sha256', Buffer.from(body), key).toString('base64')

  async function post(body: string, headers: Record<string, string>, keySource: object = { leakKeys: source }) {
    const url = await another(keySource)
    const response = await fetch(`${url}/v1/leaks/github`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
    })
    // Feedback, or the error's envelope
    return { status: response.status, json: (await response.json()) as { error?: { code: string } } }
  }

  test('disables the keys in it, tells which were real, and keeps where they were', async () => {
    const key = await newKey()
    const url = 'https://github.com/o/r/blob/0/a.txt'
    const body = JSON.stringify([
      { token: key.value, type: 'keyhouse_key', url, source: 'commit' },
      { token: unknownKey, type: 'keyhouse_key', url: '', source: 'content' },
    ])
    const { status, json } = await post(body, {
      'GITHUB-PUBLIC-KEY-IDENTIFIER': 'key-1',
      'GITHUB-PUBLIC-KEY-SIGNATURE': signed(body),
    })
    expect([status, json]).toEqual([
      200,
      [
        { token_hash: expect.stringMatching(/^[0-9a-f]{64}$/), token_type: 'keyhouse_key', label: 'true_positive' },
        { token_hash: expect.stringMatching(/^[0-9a-f]{64}$/), token_type: 'keyhouse_key', label: 'false_positive' },
      ],
    ])
    expect(JSON.stringify(json)).not.toContain(key.value)
    expect(await statusOf(key.id)).toBe('disabled')
    expect(await reportsOf(key.id)).toEqual([{ source: 'GitHub commit', url, was_live: true }])
  })

  test('is read as it was signed: the same JSON with other blanks is refused, in either spelling of the headers', async () => {
    const body = '[ {"token": "x"} ]'
    const headers = { 'Github-Public-Key-Identifier': 'key-1', 'Github-Public-Key-Signature': signed(body) }
    expect((await post(body, headers)).status).toBe(200)
    expect((await post('[{"token": "x"}]', headers)).json.error?.code).toBe('leak_signature_invalid')
  })

  const body = '[{"token":"x"}]'
  test.each([
    ['no headers', {}],
    ['no signature', { 'github-public-key-identifier': 'key-1' }],
    ['an unknown key', { 'github-public-key-identifier': 'key-2', 'github-public-key-signature': signed(body) }],
    [
      "somebody else's signature",
      { 'github-public-key-identifier': 'key-1', 'github-public-key-signature': signed(body, p256().privateKey) },
    ],
    ['no DER', { 'github-public-key-identifier': 'key-1', 'github-public-key-signature': 'AAAA' }],
    ['no base64', { 'github-public-key-identifier': 'key-1', 'github-public-key-signature': '%%%' }],
  ])('with %s is refused, whatever it says', async (_what, headers) => {
    const { status, json } = await post(body, headers)
    expect([status, json.error?.code]).toEqual([401, 'leak_signature_invalid'])
  })

  test.each(['', '{', '{}', '[]', '[{"type":"x"}]', '[7]'])('signed, and yet not of the shape: %j', async odd => {
    const headers = { 'github-public-key-identifier': 'key-1', 'github-public-key-signature': signed(odd) }
    expect((await post(odd, headers)).status).toBe(400)
  })

  test('one odd match does not save the others', async () => {
    const key = await newKey()
    const odd = JSON.stringify([
      { token: 'x', url: 'a\u0000b'.repeat(2_000), source: '\n', extra: 1 },
      { token: key.value, url: 'a\u0000b' },
    ])
    const headers = { 'github-public-key-identifier': 'key-1', 'github-public-key-signature': signed(odd) }
    expect((await post(odd, headers)).status).toBe(200)
    expect(await reportsOf(key.id)).toEqual([{ source: 'GitHub', url: 'a b', was_live: true }])
  })

  test('is not taken where no source of keys is set', async () => {
    const { status, json } = await post(body, {}, { leakKeys: undefined })
    expect([status, json.error?.code]).toEqual([404, 'leak_reports_off'])
  })

  test('is to be sent again when the keys cannot be read', async () => {
    const away = leakKeys(
      async () => Promise.reject(new Error('away')),
      () => performance.now(),
    )
    const headers = { 'github-public-key-identifier': 'key-1', 'github-public-key-signature': signed(body) }
    expect((await post(body, headers, { leakKeys: away })).json.error?.code).toBe('leak_keys_unavailable')
  })

  test("with the vector of GitHub's own documentation is accepted", async () => {
    // github/docs, pull request 18776: a sample that GitHub signed with its key of 2022
    const id = '90a421169f0a406205f1563a953312f0be898d3c7b6c06b681aa86a874555f4a'
    const signature = 'MEUCIQDKZokqnCjrRtw0tni+2Ltvl/uiMJ1EGumEsp1BsNr32AIgQY1YXD2nlj+XNfGK4rBfkMJ1JDOQcYXxa2sY8FNkrKc='
    const spki =
      'MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE9MJJHnMfn2+H4xL4YaPDA4RpJqUqkCmRCBnYERxZanmcpzQSXs1X/AljlKkbJ8qpVIW4clayyef9gWhFbNHWAA=='
    const key = createPublicKey({ key: Buffer.from(spki, 'base64'), format: 'der', type: 'spki' })
    const github = leakKeys(
      async () => published({ [id]: key }),
      () => performance.now(),
    )
    const sample = '[{"token":"some_token","type":"some_type","url":"some_url"}]'
    const headers = { 'github-public-key-identifier': id, 'github-public-key-signature': signature }
    expect(await post(sample, headers, { leakKeys: github })).toEqual({
      status: 200,
      json: [expect.objectContaining({ token_type: 'some_type', label: 'false_positive' })],
    })
    const changed = sample.replace('some_url', 'some-url')
    expect((await post(changed, headers, { leakKeys: github })).status).toBe(401)
  })
})

describe('the public keys', () => {
  const one = p256().publicKey
  const two = p256().publicKey

  /** A source that counts how often it is read, under a clock that the test moves. */
  function counted(answers: readonly (string | Error)[]) {
    const state = { reads: 0, nowMs: 0 }
    const source = leakKeys(
      async () => {
        const answer = answers[Math.min(state.reads, answers.length - 1)] ?? ''
        state.reads += 1
        if (answer instanceof Error) throw answer
        return answer
      },
      () => state.nowMs,
    )
    return { state, source }
  }

  test('are read once for an hour, however often they are asked for', async () => {
    const { state, source } = counted([published({ one })])
    await Promise.all([source.find('one'), source.find('one'), source.find('one')])
    state.nowMs = 3_599_000
    expect((await source.find('one'))?.equals(one)).toBe(true)
    expect(state.reads).toBe(1)
    state.nowMs = 3_600_000
    await source.find('one')
    expect(state.reads).toBe(2)
  })

  test('are read again for one that is unknown, but not more often than once a minute', async () => {
    const { state, source } = counted([published({ one }), published({ one, two })])
    expect(await source.find('two')).toBeUndefined()
    for (let turn = 0; turn < 100; turn += 1) expect(await source.find('two')).toBeUndefined()
    expect(state.reads).toBe(1)
    state.nowMs = 60_000
    expect((await source.find('two'))?.equals(two)).toBe(true)
    expect(state.reads).toBe(2)
  })

  test('that were good go on while their source is away', async () => {
    const { state, source } = counted([published({ one }), new Error('away')])
    await source.find('one')
    state.nowMs = 7_200_000
    expect((await source.find('one'))?.equals(one)).toBe(true)
  })

  test('of another curve are not taken', async () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'secp256k1' })
    const { source } = counted([published({ odd: publicKey })])
    await expect(source.find('odd')).rejects.toMatchObject({ errorCode: 'leak_keys_unavailable' })
  })

  async function served(listener: RequestListener): Promise<string> {
    const server = createServer(listener)
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    stops.push(
      () =>
        new Promise(resolve => {
          server.close(() => resolve())
          server.closeAllConnections()
        }),
    )
    // A TCP server's address is never text
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`
  }

  test('come from a URL, or from a file', async () => {
    const url = await served((_request, response) => response.end(published({ one })))
    expect((await leakKeys(fetchKeys(url), () => 0).find('one'))?.equals(one)).toBe(true)
    const folder = await mkdtemp(join(tmpdir(), 'kh-'))
    stops.push(() => rm(folder, { recursive: true }))
    const file = join(folder, 'keys.json')
    await writeFile(file, published({ two }))
    expect((await leakKeys(readKeysFile(file), () => 0).find('two'))?.equals(two)).toBe(true)
  })

  test('are not read past a redirect, a bad status, or a bound', async () => {
    const good = await served((_request, response) => response.end(published({ one })))
    const redirect = await served((_request, response) => response.writeHead(302, { location: good }).end())
    const refusing = await served((_request, response) => response.writeHead(403).end(published({ one })))
    const endless = await served((_request, response) => response.end(' '.repeat(300_000) + published({ one })))
    for (const url of [redirect, refusing, endless]) {
      await expect(leakKeys(fetchKeys(url), () => 0).find('one')).rejects.toMatchObject({
        errorCode: 'leak_keys_unavailable',
      })
    }
  })
})

describe('on a running server', () => {
  const github = p256()
  let folder: string
  let gateway: TestGateway
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kh-'))
    const file = join(folder, 'keys.json')
    await writeFile(file, published({ github: github.publicKey }))
    gateway = await startGateway({ settings: { 'leak-keys-file': file } })
  })
  afterAll(async () => {
    await gateway?.stop()
    await rm(folder, { recursive: true })
  })

  const post = (path: string, body: string, headers: Record<string, string> = {}) =>
    fetch(gateway.url + path, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body })

  /** Milliseconds from the report to the first refusal. */
  async function untilRefused(report: (key: string) => Promise<Response>): Promise<number> {
    const { value } = await gateway.newKey()
    const call = () => gateway.chat('plain', { max_tokens: 5 }, { headers: { authorization: `Bearer ${value}` } })
    expect((await call()).status).toBe(200)
    const beganAtMs = performance.now()
    expect((await report(value)).status).toBe(200)
    await expect.poll(async () => (await call()).status, { interval: 5 }).toBe(401)
    return performance.now() - beganAtMs
  }

  test('a key that was handed in, or that GitHub has found, is refused within a second', async () => {
    const handedIn = await untilRefused(key => post('/v1/leaks', JSON.stringify({ key })))
    const found = await untilRefused(token => {
      const body = JSON.stringify([{ token, type: 'keyhouse_key', url: 'https://github.com/o/r', source: 'commit' }])
      const signature = sign('sha256', Buffer.from(body), github.privateKey).toString('base64')
      const headers = { 'github-public-key-identifier': 'github', 'github-public-key-signature': signature }
      return post('/v1/leaks/github', body, headers)
    })
    console.log(`refused ${handedIn.toFixed(0)} ms and ${found.toFixed(0)} ms after the report was sent`)
    expect(Math.max(handedIn, found)).toBeLessThan(1_000)
  })
})

describe('the settings', () => {
  const load = (flags: Record<string, string>) => () => loadConfig({ flags, environment: {}, file: undefined })

  test('name one source of keys, which nobody on the way can change', () => {
    expect(load({ 'leak-keys-url': 'https://keys.example/', 'leak-keys-file': '/keys.json' })).toThrow('one of the two')
    expect(load({ 'leak-keys-url': 'http://keys.example/' })).toThrow('must begin with https://')
    expect(load({ 'leak-keys-url': 'http://127.0.0.1:9/keys' })).not.toThrow()
    expect(load({ 'leak-keys-url': 'https://keys.example/' })).not.toThrow()
  })
})
