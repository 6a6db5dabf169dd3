/** What bad input gets: OpenAI's envelope, always, and a sentence that says what to do. Nothing of it reaches the provider. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeKey } from '../src/core/key-format.ts'
import { gatewayRoutes } from '../src/gateway/routes.ts'
import { Books } from './support/books.ts'
import { type Body, chatBody, startGateway, type TestGateway } from './support/gateway.ts'
import { expectRefusal } from './support/refusals.ts'

let gateway: TestGateway
const bodyBytesMax = 100_000

let readOnly = ''
let callOnly = ''

beforeAll(async () => {
  gateway = await startGateway({ settings: { 'body-bytes-max': String(bodyBytesMax), 'unknown-keys-per-minute': '5' } })
  readOnly = (await gateway.newKey({ scopes: ['api.model.read'] })).value
  callOnly = (await gateway.newKey({ scopes: ['model.request'] })).value
  // Known to be good before this address tries too many unknown ones
  for (const key of [readOnly, callOnly]) {
    await fetch(`${gateway.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })
  }
})

afterAll(() => gateway.stop())

describe('keys', () => {
  const asks = (headers: Record<string, string>, query = ''): Promise<Response> =>
    fetch(`${gateway.url}/v1/models${query}`, { headers })
  const bearer = (key: string, query = '') => asks({ authorization: `Bearer ${key}` }, query)

  test('without a key the answer says how to send one', async () => {
    const response = await asks({})
    expect(response.headers.get('www-authenticate')).toBe('Bearer realm="keyhouse"')
    const { message } = await expectRefusal(response, { status: 401, type: 'invalid_request_error', code: null })
    expect(message).toContain("You didn't provide an API key")
  })

  test.each([
    ['double quotes', (key: string) => `"${key}"`, 'quotes'],
    ['single quotes', (key: string) => `'${key}'`, 'quotes'],
    ['a space before it', (key: string) => ` ${key}`, 'spaces'],
    ['a space within', (key: string) => `${key.slice(0, 20)} ${key.slice(20)}`, 'spaces'],
    ['a written-out line break', (key: string) => `${key}\\n`, 'cut or with extra characters'],
    ['its last character missing', (key: string) => key.slice(0, -1), 'cut or with extra characters'],
    ['two characters swapped', swapped, 'checksum'],
    ['the key of another company', () => 'sk-ant-api03-abcdefghijklmnop', 'Anthropic'],
    ['an OpenAI key', () => `sk-proj-${'a1B2'.repeat(12)}`, "looks like a key of OpenAI's"],
    ['an old OpenAI key', () => `sk-${'a1B2'.repeat(12)}`, "looks like a key of OpenAI's"],
    ['anything else', () => 'hunter2', 'begin with sk-kh-'],
  ])('a key with %s is refused with what is wrong about it', async (_, change, hint) => {
    const key = change(gateway.keys.project)
    const { message } = await expectRefusal(await bearer(key), {
      status: 401,
      code: 'invalid_api_key',
      type: 'invalid_request_error',
    })
    expect(message).toContain(hint)
    expect(message).not.toContain(key)
  })

  test('spaces after a key, which HTTP itself takes away, are no mistake', async () => {
    expect((await bearer(`${gateway.keys.project}  `)).status).toBe(200)
  })

  test('the key is taken as Bearer, bare, as x-api-key, as api-key and as the password of Basic', async () => {
    const { project } = gateway.keys
    const basic = Buffer.from(`:${project}`).toString('base64')
    for (const headers of [
      { authorization: `Bearer ${project}` },
      { authorization: `bearer ${project}` },
      { authorization: project },
      { 'x-api-key': project },
      { 'api-key': project },
      { authorization: `Basic ${basic}` },
    ]) {
      expect((await asks(headers)).status, Object.keys(headers)[0]).toBe(200)
    }
  })

  test('a restriction of a key holds for every header that it may come in', async () => {
    const { value } = await gateway.newKey({ scopes: ['model.request'] })
    for (const headers of [{ authorization: `Bearer ${value}` }, { 'x-api-key': value }, { 'api-key': value }]) {
      const { message } = await expectRefusal(await asks(headers), { status: 401, code: 'missing_scope' })
      expect(message).toContain('api.model.read')
    }
  })

  test('two different credentials in one request are refused, the same one twice is not', async () => {
    const { project, test: other } = gateway.keys
    await expectRefusal(await asks({ authorization: `Bearer ${project}`, 'x-api-key': other }), { status: 401 })
    expect((await asks({ authorization: `Bearer ${project}`, 'x-api-key': project })).status).toBe(200)
  })

  test.each(['api_key', 'key', 'access_token', 'anything'])('a key in the URL as %s counts as leaked', async name => {
    const key = gateway.keys.project
    const { message } = await expectRefusal(await bearer(key, `?${name}=${key}`), { status: 401 })
    expect(message).toContain('Treat that key as leaked')
    expect(message).not.toContain(key)
  })

  test('a revoked key is told that it was revoked', async () => {
    const { value, path } = await gateway.newKey()
    expect((await bearer(value)).status).toBe(200)
    await gateway.admin('DELETE', path)
    await expect.poll(async () => (await bearer(value)).status).toBe(401)
    const { message } = await expectRefusal(await bearer(value), { status: 401, code: 'invalid_api_key' })
    expect(message).toContain('has been revoked')
    expect(message).not.toContain(value)
  })

  test('an expired key is told when it expired', async () => {
    const { value } = await gateway.newKey({ expires_in_seconds: 1 })
    await expect.poll(async () => (await bearer(value)).status, { timeout: 3_000 }).toBe(401)
    const { message } = await expectRefusal(await bearer(value), { status: 401, code: 'invalid_api_key' })
    expect(message).toMatch(/expired at \d{4}-\d\d-\d\dT/)
  })

  test('an admin key cannot call models', async () => {
    const { message } = await expectRefusal(await bearer(gateway.keys.admin), { status: 401 })
    expect(message).toContain('Use a project key')
  })

  test('a project key cannot administrate', async () => {
    const response = await fetch(`${gateway.url}/v1/organization/projects`, {
      headers: { authorization: `Bearer ${gateway.keys.project}` },
    })
    await expectRefusal(response, { status: 401 })
  })

  test("another organization's or project's header is refused, the key's own is not", async () => {
    const authorization = `Bearer ${gateway.keys.project}`
    const wrongOrganization = await asks({ authorization, 'openai-organization': 'org-another' })
    await expectRefusal(wrongOrganization, { status: 401, code: 'mismatched_organization' })
    const wrongProject = await asks({ authorization, 'openai-project': 'proj_another' })
    await expectRefusal(wrongProject, { status: 401, code: 'mismatched_project' })
    const answered = await gateway.chat('plain')
    const own = answered.headers.get('openai-organization') ?? ''
    expect((await asks({ authorization, 'openai-organization': own })).status).toBe(200)
  })

  test('a stored hash of a key is not a credential', async () => {
    const books = await Books.open(gateway.keyhouse.dataDir)
    const rows = await books.query<{ hash: Buffer }>('select secret_hash as hash from api_keys')
    await books.close()
    expect(rows.length).toBeGreaterThan(2)
    for (const { hash } of rows) {
      for (const encoding of ['hex', 'base64', 'base64url'] as const) {
        await expectRefusal(await bearer(hash.toString(encoding)), { status: 401, code: 'invalid_api_key' })
      }
    }
  })

  test('SQL in a key or in a model name is text', async () => {
    const sql = "'; drop table api_keys; --"
    await expectRefusal(await bearer(sql), { status: 401 })
    await expectRefusal(await gateway.chat('plain', { model: sql }), { status: 404, code: 'model_not_found' })
    expect((await bearer(gateway.keys.project)).status).toBe(200)
  })

  // The last one of keys: it uses up what this address may guess in a minute
  test('keys that nobody made may be guessed a few times a minute, known ones go on', async () => {
    const guess = () => bearer(makeKey('project', bytes => crypto.getRandomValues(new Uint8Array(bytes))))
    for (let count = 0; count < 5; count += 1) {
      const { message } = await expectRefusal(await guess(), { status: 401, code: 'invalid_api_key' })
      expect(message).toContain('does not know it')
    }
    const refused = await guess()
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    await expectRefusal(refused, { status: 429, code: 'rate_limit_exceeded' })
    expect((await bearer(gateway.keys.project)).status).toBe(200)
  })
})

describe('every endpoint of the gateway', () => {
  const routes = gatewayRoutes.map(({ method, path }) => [method, path.replace(/\{\w+\}/, 'm')] as const)
  const ask = (method: string, path: string, key?: string): Promise<Response> =>
    fetch(gateway.url + path, {
      method,
      headers: { 'content-type': 'application/json', ...(key !== undefined && { authorization: `Bearer ${key}` }) },
      ...(method === 'POST' && { body: '{}' }),
    })

  test.each(routes)('%s %s wants a key of a project, and the scope for it', async (method, path) => {
    await expectRefusal(await ask(method, path), { status: 401, code: null })
    await expectRefusal(await ask(method, path, gateway.keys.admin), { status: 401, code: null })
    const other = method === 'GET' ? callOnly : readOnly
    await expectRefusal(await ask(method, path, other), { status: 401, code: 'missing_scope' })
    expect((await ask(method, path, gateway.keys.project)).status).not.toBe(401)
  })
})

describe('bodies', () => {
  const chat = '/v1/chat/completions'

  test.each([
    ['is empty', ''],
    ['breaks off', '{"model":"m"'],
    ['is not JSON', 'model=m'],
    ['has single quotes', "{'model':'m'}"],
    ['is a list', '[]'],
    ['is text', '"m"'],
    ['is null', 'null'],
    ['begins with a byte order mark', `\ufeff${JSON.stringify(chatBody('plain'))}`],
    ['has a comma too many', '{"model":"m",}'],
    ['holds a NaN', '{"model":"m","max_tokens":NaN}'],
  ])('a body that %s is not parsed, and told so', async (_, body) => {
    const { message } = await expectRefusal(await gateway.post(chat, body), { status: 400, code: null })
    expect(message).toContain('could not parse the JSON body')
  })

  test('a body that is not UTF-8 is refused', async () => {
    const body = Buffer.concat([Buffer.from('{"model":"m'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')])
    await expectRefusal(await gateway.post(chat, '', { body }), { status: 400 })
  })

  test.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/jsonp',
  ])('the content type %s is refused with the one to send', async type => {
    const response = await gateway.post(chat, chatBody('plain'), { headers: { 'content-type': type } })
    const { message } = await expectRefusal(response, { status: 415, code: 'unsupported_content_type' })
    expect(message).toContain('expected application/json')
  })

  test('JSON with a charset is JSON', async () => {
    const headers = { 'content-type': 'application/json; charset=utf-8' }
    expect((await gateway.post(chat, chatBody('plain'), { headers })).status).toBe(200)
  })

  test('a compressed body is refused', async () => {
    const headers = { 'content-encoding': 'gzip' }
    await expectRefusal(await gateway.post(chat, chatBody('plain'), { headers }), { status: 415 })
  })

  test('a body over the limit is refused, whether its length is told or not', async () => {
    const body = JSON.stringify(chatBody('plain', { messages: [{ role: 'user', content: 'x'.repeat(bodyBytesMax) }] }))
    const { message } = await expectRefusal(await gateway.post(chat, body), { status: 413, code: 'request_too_large' })
    expect(message).toMatch(new RegExp(`${bodyBytesMax} bytes.*raise body-bytes-max`))
    const chunked = new Blob([body]).stream()
    // Node's fetch needs `duplex` for a body without a length; the type of RequestInit does not know it
    const init = { body: chunked, duplex: 'half' } as RequestInit
    await expectRefusal(await gateway.post(chat, '', init), { status: 413, code: 'request_too_large' })
  })

  test('a body at the limit is taken', async () => {
    const frame = JSON.stringify(chatBody('plain', { messages: [{ role: 'user', content: '' }] })).length
    const content = 'x'.repeat(bodyBytesMax - frame)
    expect((await gateway.chat('plain', { messages: [{ role: 'user', content }] })).status).toBe(200)
  })

  test.each([
    ['lists', '['.repeat(5_000) + ']'.repeat(5_000)],
    ['objects', `${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}`],
  ])('%s nested 5,000 deep are refused', async (_, deep) => {
    const body = `{"model":"m","messages":[{"role":"user","content":"x"}],"metadata":${deep}}`
    const { message } = await expectRefusal(await gateway.post(chat, body), { status: 400 })
    expect(message).toContain('nested deeper')
  })

  test('a member called __proto__ is just a member', async () => {
    const body = '{"__proto__":{"model":"e"},"model":"m","messages":[{"role":"user","content":"x"}]}'
    expect((await gateway.post(chat, body)).status).toBe(200)
    await expectRefusal(await gateway.post(chat, '{"__proto__":{"model":"m","messages":[]}}'), {
      status: 400,
      param: 'model',
    })
  })
})

describe('parameters', () => {
  type Case = [member: string, value: unknown, code: string | null]

  test.each<Case>([
    ['max_tokens', -1, 'integer_below_min_value'],
    ['max_tokens', 0, 'integer_below_min_value'],
    ['max_tokens', '5', 'invalid_type'],
    ['max_tokens', 1.5, 'invalid_type'],
    ['max_tokens', true, 'invalid_type'],
    ['max_tokens', [], 'invalid_type'],
    ['max_tokens', 1e15, 'integer_above_max_value'],
    ['max_completion_tokens', -1, 'integer_below_min_value'],
    ['max_completion_tokens', 1e300, 'integer_above_max_value'],
    ['n', 0, 'integer_below_min_value'],
    ['n', 1e9, 'integer_above_max_value'],
    ['n', '2', 'invalid_type'],
    ['stream', 'true', 'invalid_type'],
    ['stream_options', 'usage', 'invalid_type'],
    ['stream_options', {}, null],
    ['messages', 'hello', 'invalid_type'],
    ['messages', [], 'empty_array'],
    ['messages', undefined, 'missing_required_parameter'],
    ['model', 7, 'invalid_type'],
    ['model', '', null],
    ['model', undefined, null],
  ])('%s = %j is refused and named', async (param, value, code) => {
    const body = { ...chatBody('plain'), [param]: value }
    const { message } = await expectRefusal(await gateway.post('/v1/chat/completions', body), {
      status: 400,
      type: 'invalid_request_error',
      param,
      code,
    })
    expect(message).toMatch(new RegExp(param.replace('_', '.'), 'i'))
  })

  test('a number that no computer can hold is refused and named', async () => {
    const body = '{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":1e309}'
    await expectRefusal(await gateway.post('/v1/chat/completions', body), { status: 400, param: 'max_tokens' })
  })

  test('a wrong member within a list is named with its place', async () => {
    const messages = [{ role: 'user', content: 'x' }, 'second']
    await expectRefusal(await gateway.chat('plain', { messages }), { status: 400, param: 'messages[1]' })
    await expectRefusal(await gateway.chat('plain', { messages: [{ content: 'x' }] }), {
      status: 400,
      param: 'messages[0].role',
    })
  })

  test('both bounds of the output are taken only when they agree', async () => {
    const bounds = { max_tokens: 5, max_completion_tokens: 6 }
    await expectRefusal(await gateway.chat('plain', bounds), { status: 400, param: 'max_tokens' })
    expect((await gateway.chat('plain', { ...bounds, max_tokens: 6 })).status).toBe(200)
  })

  test.each<[path: string, body: Body, param: string]>([
    ['/v1/completions', { model: 'm' }, 'prompt'],
    ['/v1/completions', { model: 'm', prompt: 7 }, 'prompt'],
    ['/v1/completions', { model: 'm', prompt: [] }, 'prompt'],
    ['/v1/completions', { model: 'm', prompt: 'x', best_of: 1_000 }, 'best_of'],
    ['/v1/completions', { model: 'm', prompt: 'x', max_tokens: -1 }, 'max_tokens'],
    ['/v1/embeddings', { model: 'e' }, 'input'],
    ['/v1/embeddings', { model: 'e', input: '' }, 'input'],
    ['/v1/embeddings', { model: 'e', input: [] }, 'input'],
    ['/v1/embeddings', { model: 'e', input: { text: 'x' } }, 'input'],
    ['/v1/embeddings', { input: 'x' }, 'model'],
  ])('POST %s %j names %s', async (path, body, param) => {
    await expectRefusal(await gateway.post(path, body), { status: 400, param })
  })

  test.each(['/v1/chat/completions', '/v1/completions', '/v1/embeddings'])(
    'an unknown model on %s is a 404',
    async path => {
      const body = { ...chatBody('plain'), prompt: 'x', input: 'x', model: 'gpt-nobody' }
      const { message } = await expectRefusal(await gateway.post(path, body), {
        status: 404,
        code: 'model_not_found',
        param: 'model',
        type: 'invalid_request_error',
      })
      expect(message).toContain('`gpt-nobody` does not exist or you do not have access to it')
    },
  )

  test('a model of another kind is refused with the endpoint to use', async () => {
    const chat = await gateway.chat('plain', { model: 'e' })
    expect((await expectRefusal(chat, { status: 400, param: 'model' })).message).toContain('/v1/embeddings')
    const embedding = await gateway.post('/v1/embeddings', { model: 'm', input: 'x' })
    expect((await expectRefusal(embedding, { status: 400, param: 'model' })).message).toContain('/v1/chat/completions')
  })

  test('what the provider says of the request is passed on in its own words', async () => {
    const response = await gateway.post('/v1/embeddings', { model: 'e', input: 'x', dimensions: 'many' })
    await expectRefusal(response, { status: 400, param: 'dimensions' })
  })
})

describe('addresses', () => {
  const send = (method: string, path: string, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(gateway.url + path, { method, headers: { authorization: `Bearer ${gateway.keys.project}`, ...headers } })

  test.each([
    ['GET', '/v1/nothing'],
    ['POST', '/v1/chat/completions/'],
    ['GET', '/'],
    ['GET', '/v2/models'],
    ['GET', '/v1/models/../../etc/passwd'],
    ['GET', '/v1/%2e%2e/%00'],
    ['DELETE', '/v1/nothing'],
  ])('%s %s is an invalid URL', async (method, path) => {
    const response = await send(method, path)
    const { message } = await expectRefusal(response, { status: 404, code: null, type: 'invalid_request_error' })
    expect(message).toContain(`Invalid URL (${method}`)
  })

  test.each([
    ['GET', '/v1/chat/completions', 'POST'],
    ['POST', '/v1/models', 'GET'],
    ['PUT', '/v1/embeddings', 'POST'],
    ['DELETE', '/v1/models/m', 'GET'],
    ['PATCH', '/v1/completions', 'POST'],
  ])('%s on %s names the verb to use', async (method, path, allow) => {
    const response = await send(method, path)
    expect(response.headers.get('allow')).toBe(allow)
    await expectRefusal(response, { status: 405 })
  })

  test('a model name in the path may hold slashes and escapes, and is only ever looked up', async () => {
    for (const name of ['a/b/c', 'a%2fb', '%E0%A4%A', '..%2f..%2fm', '%00']) {
      await expectRefusal(await send('GET', `/v1/models/${name}`), { status: 404, code: 'model_not_found' })
    }
  })

  test('HEAD answers like GET without a body', async () => {
    const head = await send('HEAD', '/v1/models')
    expect(head.status).toBe(200)
    expect(head.headers.get('content-type')).toBe('application/json')
    expect(await head.text()).toBe('')
    const missing = await fetch(`${gateway.url}/v1/models`, { method: 'HEAD' })
    expect([missing.status, await missing.text()]).toEqual([401, ''])
  })

  test('a preflight allows the headers that the SDKs send, without a key', async () => {
    const asked = 'authorization,content-type,x-stainless-lang,x-stainless-os,x-stainless-retry-count'
    const response = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'OPTIONS',
      headers: {
        origin: 'https://app.example',
        'access-control-request-method': 'POST',
        'access-control-request-headers': asked,
      },
    })
    expect(response.status).toBe(204)
    expect(response.headers.get('access-control-allow-origin')).toBe('*')
    expect(response.headers.get('access-control-allow-methods')).toContain('POST')
    expect(response.headers.get('access-control-allow-headers')).toBe(asked)
  })

  test('a browser may read an error, its request id and how long to wait', async () => {
    const response = await fetch(`${gateway.url}/v1/models`, { headers: { origin: 'https://app.example' } })
    expect(response.headers.get('access-control-allow-origin')).toBe('*')
    const exposed = response.headers.get('access-control-expose-headers') ?? ''
    for (const header of ['x-request-id', 'retry-after', 'x-ratelimit-remaining-tokens']) {
      expect(exposed).toContain(header)
    }
  })
})

test('nothing that was refused here has cost anything', async () => {
  const books = await Books.open(gateway.keyhouse.dataDir)
  const { charged } = await books.expectBalanced()
  const [row] = await books.query<{ rows: bigint; requests: bigint }>(
    'select count(*) as rows, count(distinct request_id) as requests from usage_events',
  )
  await books.close()
  expect(row?.rows).toBe(row?.requests)
  const answered = gateway.upstream.requests.filter(({ path }) => path !== '/v1/embeddings').length
  expect(Number(row?.rows)).toBe(answered)
  expect(charged).toBeGreaterThan(0n)
})

function swapped(key: string): string {
  const at = [...key].findIndex((character, index) => index > 20 && character !== key[index + 1])
  return key.slice(0, at) + key[at + 1] + key[at] + key.slice(at + 2)
}
