// What restricts a key, and what ends it, through the running server: where it calls models and where it is managed.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { chatBody, type ProjectKey, startGateway, type TestGateway } from './support/gateway.ts'

/** Of one that believes this machine's X-Forwarded-For, as behind nginx, and of one that believes nobody. */
let proxied: TestGateway
let direct: TestGateway
beforeAll(async () => {
  proxied = await startGateway({ settings: { 'trusted-proxies': '127.0.0.1' } })
  direct = await startGateway()
}, 90_000)
afterAll(async () => {
  await proxied?.stop()
  await direct?.stop()
})

type Headers = Readonly<Record<string, string>>
type Key = Pick<ProjectKey, 'value'>

async function read(response: Response): Promise<{ status: number; code: unknown }> {
  // OpenAI's envelope, or the answer itself
  const { error } = (await response.json()) as { error?: { code?: unknown } }
  return { status: response.status, code: error?.code }
}

const post = async (gateway: TestGateway, path: string, { value }: Key, body: object, headers: Headers) =>
  read(
    await fetch(gateway.url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${value}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(20_000),
    }),
  )

/** The same key at the gateway and at the control plane, where it mints a client secret. */
async function onBoth(gateway: TestGateway, key: Key, headers: Headers): Promise<number | string> {
  const call = await post(gateway, '/v1/chat/completions', key, chatBody('x'), headers)
  const mint = await post(gateway, '/v1/client_secrets', key, {}, headers)
  expect([headers, mint]).toEqual([headers, call])
  return call.status === 200 ? 200 : String(call.code)
}

const from = (address: string): Headers => ({ 'x-forwarded-for': address })

describe('an address list', () => {
  test('of v4 and v6 blocks holds behind a trusted proxy, and what a client writes in front of it does not count', async () => {
    const key = await proxied.newKey({ allowed_cidrs: ['203.0.113.0/24', '2001:db8::/32'] })
    const seen: [string, number | string][] = []
    for (const address of [
      '203.0.113.7',
      '::ffff:203.0.113.7',
      '::ffff:cb00:7107',
      '2001:db8::7',
      '198.51.100.1',
      '2001:db9::7',
      // The proxy wrote the last one; the client the first, to look allowed
      '203.0.113.7, 198.51.100.1',
      '127.0.0.1, 198.51.100.1',
      'nonsense, 203.0.113.7',
    ]) {
      seen.push([address, await onBoth(proxied, key, from(address))])
    }
    expect(seen).toEqual([
      ['203.0.113.7', 200],
      ['::ffff:203.0.113.7', 200],
      ['::ffff:cb00:7107', 200],
      ['2001:db8::7', 200],
      ['198.51.100.1', 'ip_not_authorized'],
      ['2001:db9::7', 'ip_not_authorized'],
      ['203.0.113.7, 198.51.100.1', 'ip_not_authorized'],
      ['127.0.0.1, 198.51.100.1', 'ip_not_authorized'],
      ['nonsense, 203.0.113.7', 200],
    ])
  })

  test('of everything in one family lets nothing of the other through', async () => {
    const v4 = await proxied.newKey({ allowed_cidrs: ['0.0.0.0/0'] })
    const v6 = await proxied.newKey({ allowed_cidrs: ['::/0'] })
    expect([
      await onBoth(proxied, v4, from('198.51.100.1')),
      await onBoth(proxied, v4, from('2001:db8::1')),
      await onBoth(proxied, v6, from('198.51.100.1')),
      await onBoth(proxied, v6, from('2001:db8::1')),
    ]).toEqual([200, 'ip_not_authorized', 'ip_not_authorized', 200])
  })

  test('cannot be got round by X-Forwarded-For where no proxy is trusted', async () => {
    const elsewhere = await direct.newKey({ allowed_cidrs: ['203.0.113.0/24'] })
    const here = await direct.newKey({ allowed_cidrs: ['127.0.0.1'] })
    expect([
      await onBoth(direct, elsewhere, from('203.0.113.7')),
      await onBoth(direct, here, from('203.0.113.7')),
      await onBoth(direct, here, {}),
    ]).toEqual(['ip_not_authorized', 200, 200])
  })

  test('of a project or the organization holds for keys without their own, within a second, and comes off again', async () => {
    const key = await proxied.newKey()
    const policies = ['/v1/organization/key_policy', `${key.path.replace(/\/api_keys\/.*/, '')}/key_policy`]
    expect(await onBoth(proxied, key, from('198.51.100.1'))).toBe(200)
    for (const policy of policies) {
      await proxied.admin('POST', policy, { allowed_cidrs: ['127.0.0.1', '203.0.113.0/24'] })
      await sleep(1_000)
      expect([policy, await onBoth(proxied, key, from('198.51.100.1'))]).toEqual([policy, 'ip_not_authorized'])
      expect([policy, await onBoth(proxied, key, from('203.0.113.7'))]).toEqual([policy, 200])
      const { status } = await fetch(`${proxied.url}/v1/organization/projects`, {
        headers: { authorization: `Bearer ${proxied.keys.admin}`, ...from('198.51.100.1') },
      })
      // The organization's list is for admin keys too, a project's is not
      expect([policy, status]).toEqual([policy, policy === policies[0] ? 401 : 200])
      await proxied.admin('POST', policy, { allowed_cidrs: [] })
      await sleep(1_000)
      expect([policy, await onBoth(proxied, key, from('198.51.100.1'))]).toEqual([policy, 200])
    }
  })
})

describe('an origin list', () => {
  test.each([
    ['https://app.example.com', 200],
    ['http://APP.example.com:8080', 200],
    ['https://a.example.org', 200],
    ['https://a.b.example.org', 200],
    ['https://example.org', 'origin_not_authorized'],
    ['https://evil-example.org', 'origin_not_authorized'],
    ['https://example.org.evil.com', 'origin_not_authorized'],
    ['https://app.example.com.evil.com', 'origin_not_authorized'],
    ['https://evil.com/app.example.com', 'origin_not_authorized'],
    ['null', 'origin_not_authorized'],
    ['', 'origin_not_authorized'],
  ])("'%s' is answered with %s", async (origin, answer) => {
    const key = await direct.newKey({ allowed_origins: ['app.example.com', '*.example.org'] })
    expect(await onBoth(direct, key, { origin })).toBe(answer)
  })

  test('refuses who sends no origin at all', async () => {
    const key = await direct.newKey({ allowed_origins: ['app.example.com'] })
    expect(await onBoth(direct, key, {})).toBe('origin_not_authorized')
  })
})

/** Asks until the answer is the expected one. @returns how long it took, in milliseconds */
async function until(expected: number | string, key: Key): Promise<number> {
  const startedAt = performance.now()
  for (;;) {
    const { status, code } = await post(direct, '/v1/chat/completions', key, chatBody('x'), {})
    const answer = status === 200 ? 200 : String(code)
    const took = performance.now() - startedAt
    if (answer === expected) return took
    if (took > 5_000) throw new Error(`still ${answer} and not ${expected} after ${Math.round(took)} ms`)
  }
}

const boundMs = 1_000

describe('within a second at the gateway, which remembers keys', () => {
  test('a backup key works once its key is revoked, and that one no longer does', async () => {
    const key = await direct.newKey()
    const backup = await direct.admin<ProjectKey>('POST', `${key.path}/backup`)
    await until(200, key)
    await until('key_asleep', backup)
    await direct.admin('DELETE', key.path)
    const took = [await until('invalid_api_key', key), await until(200, backup)]
    expect(Math.max(...took)).toBeLessThan(boundMs)
  })

  test('a client secret dies with its key', async () => {
    const key = await direct.newKey()
    const mint = { method: 'POST', headers: { authorization: `Bearer ${key.value}` } }
    // As the contract has it
    const secret = (await (await fetch(`${direct.url}/v1/client_secrets`, mint)).json()) as ProjectKey
    await until(200, secret)
    await direct.admin('POST', `${key.path}/disable`)
    expect(await until('key_disabled', secret)).toBeLessThan(boundMs)
    await direct.admin('POST', `${key.path}/enable`)
    expect(await until(200, secret)).toBeLessThan(boundMs)
    await direct.admin('DELETE', key.path)
    expect(await until('invalid_api_key', secret)).toBeLessThan(boundMs)
  })

  test('a rotated key, a narrowed one and one of a deleted service account are refused', async () => {
    const rotated = await direct.newKey()
    await until(200, rotated)
    const next = await direct.admin<ProjectKey>('POST', `${rotated.path}/rotate`, { grace_seconds: 0 })
    expect(await until('invalid_api_key', rotated)).toBeLessThan(boundMs)
    await until(200, next)
    const narrowed = await direct.newKey()
    await until(200, narrowed)
    await direct.admin('POST', narrowed.path, { scopes: ['api.model.read'] })
    expect(await until('missing_scope', narrowed)).toBeLessThan(boundMs)
    const accounts = narrowed.path.replace(/\/api_keys\/.*/, '/service_accounts')
    const account = await direct.admin<{ id: string; api_key: Key }>('POST', accounts, { name: 'ci' })
    await until(200, account.api_key)
    await direct.admin('DELETE', `${accounts}/${account.id}`)
    expect(await until('invalid_api_key', account.api_key)).toBeLessThan(boundMs)
  })

  test('both keys of a rotation work during the grace', async () => {
    const key = await direct.newKey()
    const next = await direct.admin<ProjectKey>('POST', `${key.path}/rotate`, { grace_seconds: 60 })
    await until(200, next)
    await sleep(boundMs)
    expect(await until(200, key)).toBeLessThan(boundMs)
  })
})
