// `keyhouse doctor --key … --base-url …`: from a key and a URL to the cause, its proof, and the one step that mends it.
import { createServer, type RequestListener } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { adminKey, runCli } from '../src/cli/testing.ts'
import { makeCertificate } from './support/certificates.ts'
import { type Body, type ProjectKey, startGateway, type TestGateway } from './support/gateway.ts'

let gateway: TestGateway
let project: string
beforeAll(async () => {
  gateway = await startGateway()
  const { path } = await gateway.newKey()
  project = path.split('/api_keys')[0] ?? ''
  // A call of one token costs more than a cent in a few turns
  const route = { provider: 'upstream', upstream_model: 'm' }
  const price = { input_usd_per_million: '1000', output_usd_per_million: '1000' }
  await gateway.admin('POST', '/v1/platform/models/costly', { kind: 'chat', routes: [route] })
  await gateway.admin('POST', '/v1/platform/models/costly/price', price)
})
afterAll(() => gateway?.stop())

type Found = { readonly name: string; readonly outcome: string; readonly proof: string; readonly mend: string | null }
type Case = {
  readonly key?: string
  readonly url?: string
  readonly words?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
}

/** What is wrong, each as `name: proof → mend`. */
async function wrongs({ key, url = `${gateway.url}/v1`, words = [], env = {} }: Case): Promise<string[]> {
  const given = { OPENAI_BASE_URL: url, ...(key !== undefined && { OPENAI_API_KEY: key }), ...env }
  const { code, stdout, stderr } = await runCli(['doctor', '--json', '--base-url', url, ...words], { env: given })
  expect(stderr).not.toMatch(/[0-9A-Za-z]{43}/)
  const { data, ok } = JSON.parse(stdout) as { data: Found[]; ok: boolean }
  expect(stdout).not.toMatch(/sk-kh-[a-z]+-[0-9A-Za-z]{40}/)
  const found = data.filter(({ outcome }) => outcome === 'wrong')
  expect([code, ok]).toEqual(found.length === 0 ? [0, true] : [1, false])
  for (const { mend } of found) expect(mend).toMatch(/\S/)
  return found.map(({ name, proof, mend }) => `${name}: ${proof} → ${mend}`)
}

const only = async (one: Case): Promise<string> => {
  const found = await wrongs(one)
  expect(found).toHaveLength(1)
  return found[0] ?? ''
}

const newKey = async (body: Body = {}): Promise<ProjectKey> => gateway.newKey(body)
const live = async (): Promise<string> => (await newKey()).value

test('a good key and URL have nothing wrong, and the cheapest call is made only when a model is named', async () => {
  const key = await live()
  const before = gateway.upstream.requestCount()
  expect(await wrongs({ key })).toEqual([])
  expect(gateway.upstream.requestCount()).toBe(before)
  expect(await wrongs({ key, words: ['--model', 'm'] })).toEqual([])
  expect(await wrongs({ key, words: ['--model', 'e'] })).toEqual([])
  expect(gateway.upstream.requestCount()).toBe(before + 2)
})

describe('the text of the key', () => {
  test.each([
    ['spaces', (key: string) => `  ${key} `, 'a space'],
    ['quotes', (key: string) => `"${key}"`, 'a quote'],
    ['a newline', (key: string) => `${key}\n`, 'a line break'],
  ])('has %s around it', async (_what, change, named) => {
    expect(await only({ key: change(await live()) })).toMatch(new RegExp(`^key: there is ${named} around it`))
  })

  test.each([
    ['sk-ant-REDACTED', 'a key of Anthropic'],
    ['sk-proj-abcdefghijklmnopqrstuvwxyz0123456789', "a key of OpenAI's"],
    ['hello', 'begin with sk-kh-'],
  ])('%s is of another provider, or none', async (key, reason) => {
    expect(await only({ key })).toContain(reason)
  })

  test('was cut, or mistyped', async () => {
    const key = await live()
    expect(await only({ key: key.slice(0, -3) })).toContain('cut or with extra characters')
    const other = key.at(-1) === 'x' ? 'y' : 'x'
    expect(await only({ key: key.slice(0, -1) + other })).toContain('checksum does not match')
  })

  test('is missing, so that no header is sent', async () => {
    expect(await only({})).toMatch(/^key: there is none \(OPENAI_API_KEY\), so a call carries no Authorization header/)
  })
})

describe('the key', () => {
  const changed = async (verb: string) => {
    const key = await newKey()
    await (verb === '' ? gateway.admin('DELETE', key.path) : gateway.admin('POST', key.path + verb, {}))
    return only({ key: key.value })
  }

  test('was revoked', async () => expect(await changed('')).toContain('has been revoked'))
  test('is disabled', async () => expect(await changed('/disable')).toMatch(/key_disabled.*keyhouse keys enable/))

  test('has expired', async () => {
    const key = await newKey({ expires_in_seconds: 1 })
    await new Promise(resolve => setTimeout(resolve, 1_100))
    expect(await only({ key: key.value })).toContain('expired at')
  })

  test('sleeps behind another one', async () => {
    const key = await newKey()
    const { value } = await gateway.admin<{ value: string }>('POST', `${key.path}/backup`, {})
    expect(await only({ key: value })).toMatch(/key_asleep.*Use the key that it backs up/)
  })

  test('is of another installation', async () => {
    expect(await only({ key: adminKey })).toContain('this Keyhouse does not know it')
  })

  test('is an admin key', async () => {
    expect(await only({ key: gateway.keys.admin })).toMatch(/admin key, which calls no models → Use a project key/)
  })

  test('lacks a scope, which is named', async () => {
    const files = await newKey({ scopes: ['api.files.read'] })
    expect(await only({ key: files.value })).toMatch(
      /^scopes: it has api.files.read, and calls need model.request → An owner adds/,
    )
    const embeds = await newKey({ scopes: ['model.request.embeddings'] })
    const found = await only({ key: embeds.value, words: ['--model', 'm'] })
    expect(found).toMatch(/missing_scope.*Missing scopes: model.request.chat_completions/)
  })

  test('is sent with headers of another organization or project', async () => {
    const key = await live()
    expect(await only({ key, env: { OPENAI_ORG_ID: 'org-other' } })).toMatch(
      /mismatched_organization.*Unset OPENAI_ORG_ID/,
    )
    expect(await only({ key, env: { OPENAI_PROJECT_ID: 'proj_x' } })).toMatch(
      /mismatched_project.*Unset OPENAI_PROJECT_ID/,
    )
  })

  test('is not to be used from this address', async () => {
    const { value } = await newKey({ allowed_cidrs: ['192.0.2.0/24'] })
    expect(await only({ key: value })).toMatch(/ip_not_authorized.*127\.0\.0\.1 is not on the address list of the key/)
  })

  test('is not to be used on this page', async () => {
    const { value } = await newKey({ allowed_origins: ['app.example.com'] })
    const words = ['--origin', 'https://evil.example']
    expect(await only({ key: value, words })).toMatch(/origin_not_authorized.*https:\/\/evil\.example/)
    expect(await wrongs({ key: value, words: ['--origin', 'https://app.example.com'] })).toEqual([])
  })
})

describe('the model', () => {
  test('is a live one, and the key a test key', async () => {
    const { value } = await newKey({ test: true })
    expect(await only({ key: value, words: ['--model', 'm'] })).toMatch(/^call: 403 .*Test keys/)
  })

  test('is not there', async () => {
    expect(await only({ key: await live(), words: ['--model', 'nothing'] })).toMatch(/^call: 404 model_not_found/)
  })

  test('is not allowed for the project', async () => {
    const deny = { mode: 'deny_list', model_ids: ['m'] }
    await gateway.admin('POST', `${project}/model_permissions`, deny)
    try {
      expect(await only({ key: await live(), words: ['--model', 'm'] })).toMatch(
        /^call: 403 .*does not have access to model/,
      )
    } finally {
      await gateway.admin('DELETE', `${project}/model_permissions`)
    }
  })

  test('is not on the list of the key', async () => {
    const { value: key } = await newKey({ allowed_models: ['e'] })
    expect(await only({ key, words: ['--model', 'm'] })).toMatch(/^call: 403 model_not_found: The API key sk-kh-.* `m`/)
    const { stdout } = await runCli(['doctor', '--base-url', `${gateway.url}/v1`], { env: { OPENAI_API_KEY: key } })
    expect(stdout).toContain('the key may call e and no others')
  })

  test('has reached its rate limit: which one, and for how long', async () => {
    await gateway.admin('POST', `${project}/rate_limits/rl-m`, { max_requests_per_1_minute: 1 })
    const key = await live()
    const words = ['--model', 'm']
    await wrongs({ key, words })
    const found = await only({ key, words })
    expect(found).toMatch(
      /^call: 429 rate_limit_exceeded: .*requests per min \(RPM\): Limit 1, .*\(free again in .*\) → Wait/,
    )
  })
})

test('there never was any credit, or none is left', async () => {
  const poor = await startGateway({ settings: { 'first-credit-usd': '0' } })
  try {
    const asking = { key: poor.keys.project, url: `${poor.url}/v1`, words: ['--model', 'm'] }
    const never = await wrongs(asking)
    expect(never[0]).toMatch(
      /^credit: billing is not active: .* → The operator adds some: `keyhouse credits add 10 --org/,
    )
    expect(never[1]).toMatch(/^call: 429 credit_balance_exhausted/)
    await poor.admin('POST', '/v1/organization/credit_grants', { amount_usd: '1', expires_in_seconds: 1 })
    await sleep(2_000)
    const found = await wrongs(asking)
    expect(found[0]).toMatch(/^credit: .* has none left → An owner adds some: `keyhouse credits add`/)
    expect(found[1]).toMatch(/^call: 429 credit_balance_exhausted/)
  } finally {
    await poor.stop()
  }
})

describe('nothing is left', () => {
  const words = ['--model', 'costly']
  const limit = { threshold_amount: 1, currency: 'USD', interval: 'month' }

  test('of the budget of the key: which one, and when it starts anew', async () => {
    const { path, value, id } = await newKey({ budget: { limit_usd: '0', period: 'week' } })
    const [found = '', call = ''] = await wrongs({ key: value, words })
    expect(found).toMatch(
      /^spending: the key's budget, \$0\.00 a week, is reached: .* anew at \d{4}-\d\d-\d\d 00:00 UTC/,
    )
    expect(found).toContain(`keyhouse keys budget set ${id} USD`)
    expect(call).toMatch(/^call: 429 insufficient_quota: .* → .*keyhouse keys budget set/)
    await gateway.admin('POST', `${path}/budget`, { limit_usd: '0', period: 'total' })
    expect((await wrongs({ key: value }))[0]).toContain(
      '$0.00 in all, is reached: $0.00 is spent; it does not start anew',
    )
  })

  test.each([
    ['project', () => project, "the project's spend limit, $0.01 a month", 'project_spend_limit_exceeded'],
    [
      'organization',
      () => '/v1/organization',
      'of the organization, $0.01 a month',
      'organization_spend_limit_exceeded',
    ],
  ])('of the spend limit of the %s', async (_where, path, named, code) => {
    const key = await live()
    for (let turn = 0; turn < 5; turn += 1) await wrongs({ key, words })
    await gateway.admin('POST', `${path()}/spend_limit`, limit)
    try {
      await expect
        .poll(() => wrongs({ key, words }), { timeout: 5_000 })
        .toEqual([
          expect.stringMatching(
            new RegExp(`^spending: .*${named.replaceAll(/[$.]/g, '\\$&')}, is reached: .*spend-limit set USD`),
          ),
          expect.stringContaining(`call: 429 ${code}: `),
        ])
    } finally {
      await gateway.admin('DELETE', `${path()}/spend_limit`)
    }
  })
})

describe('the URL', () => {
  const stops: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const stop of stops.splice(0)) await stop()
  })

  async function served(listener: RequestListener): Promise<string> {
    const server = createServer(listener)
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    stops.push(() => {
      server.closeAllConnections()
      return new Promise(resolve => server.close(resolve))
    })
    // A TCP server's address is never text
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  test('lacks /v1, or names an endpoint', async () => {
    const key = await live()
    const right = `Set it to ${gateway.url}/v1.`
    expect(await only({ key, url: gateway.url })).toContain(`ends without /v1 → ${right}`)
    expect(await only({ key, url: `${gateway.url}/v1/chat/completions` })).toContain(`SDKs add it again → ${right}`)
    expect(await wrongs({ key, url: `${gateway.url}/v1/` })).toEqual([])
  })

  test('leads to another program, which gets no key', async () => {
    const seen: (string | undefined)[] = []
    const url = await served((request, response) => {
      seen.push(request.headers.authorization)
      response.setHeader('server', 'nginx').end('<html>hello</html>')
    })
    expect(await only({ key: await live(), url: `${url}/v1` })).toContain('another program (nginx) answers')
    expect(seen.filter(header => header !== undefined)).toEqual([])
  })

  /** Of a server that has just stopped. */
  async function deadUrl(): Promise<string> {
    const url = await served(() => undefined)
    await stops.pop()?.()
    return `${url}/v1`
  }

  test('leads to a port where nothing listens', async () => {
    expect(await only({ key: await live(), url: await deadUrl() })).toContain('nothing listens there')
  })

  test('says http where https is spoken, or a name that is not in the certificate', async () => {
    const { pem, key: privateKey } = makeCertificate({ name: 'keyhouse.example', usage: 'servers' })
    const server = createSecureServer({ cert: pem, key: privateKey }, (_request, response) => response.end())
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    stops.push(() => {
      server.closeAllConnections()
      return new Promise(resolve => server.close(resolve))
    })
    // A TCP server's address is never text
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
    const key = await live()
    expect(await only({ key, url: `http://${host}/v1` })).toMatch(
      /speaks https, and http was asked for → Set it to https:/,
    )
    expect(await only({ key, url: `https://${host}/v1` })).toMatch(/certificate is not accepted .* NODE_EXTRA_CA_CERTS/)
  })

  test('names a host that nobody knows', async () => {
    const found = await only({ key: await live(), url: 'http://keyhouse.invalid/v1' })
    expect(found).toMatch(/its name is not known|its name cannot be looked up/)
  })

  test('says https where http is spoken', async () => {
    const url = gateway.url.replace('http:', 'https:')
    expect(await only({ key: await live(), url: `${url}/v1` })).toMatch(
      /speaks http, and https was asked for → Set it to http:/,
    )
  })

  test('says http where a proxy sends everybody on to https', async () => {
    const url = await served((_request, response) =>
      response.writeHead(301, { location: 'https://keyhouse.example/' }).end(),
    )
    expect(await only({ key: await live(), url })).toMatch(/sends http on to https → Set it to https:/)
  })

  test('leads to a proxy without a server behind it', async () => {
    const url = await served((_request, response) => response.writeHead(502).end('bad gateway'))
    expect(await only({ key: await live(), url })).toContain('a proxy answers 502')
  })

  test('is one that a proxy of the environment may stand before', async () => {
    for (const url of [await deadUrl(), `${gateway.url}/v1`]) {
      const env = { OPENAI_API_KEY: await live(), HTTP_PROXY: 'http://proxy.example:3128' }
      const { stdout } = await runCli(['doctor', '--json', '--base-url', url], { env })
      const found = (JSON.parse(stdout).data as Found[]).find(({ name }) => name === 'proxy')
      expect(found).toMatchObject({ outcome: 'warning', proof: expect.stringContaining('HTTP_PROXY is set') })
    }
  })

  test('holds the key', async () => {
    const key = await live()
    for (const url of [`${gateway.url}/v1?api_key=${key}`, `http://user:${key}@127.0.0.1/v1`]) {
      expect(await only({ key, url })).toMatch(/^base url: there is a key in the URL → Revoke that key/)
    }
  })

  test.each(['', 'not a url', 'ftp://127.0.0.1/v1'])('is none: %j', async url => {
    expect(await only({ key: await live(), url })).toContain('is no URL')
  })
})

test('for people, each finding is a line with its mark, and the step below it', async () => {
  const env = { OPENAI_API_KEY: gateway.keys.admin, OPENAI_BASE_URL: gateway.url }
  const { stdout, stderr, code } = await runCli(['doctor', '--base-url', gateway.url], { env })
  expect(code).toBe(1)
  expect(stdout).toMatch(/✗ base url {5}a Keyhouse answers at .* ends without \/v1\n {15}→ Set it to/)
  expect(stderr).toContain('2 things are wrong.')
})
