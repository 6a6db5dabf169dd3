/** Mutual TLS: once a certificate is active, calls come with a client certificate that verifies against it, or not at all. */
import { mkdir, writeFile } from 'node:fs/promises'
import { Agent, type RequestOptions, request } from 'node:https'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeCertificate, type TestCertificate } from './support/certificates.ts'
import { type Keys, newDataDir, type RunningKeyhouse, removeDataDir, startKeyhouse } from './support/keyhouse.ts'
import { expectEnvelope } from './support/refusals.ts'

const authority = makeCertificate({ name: 'Clients', authority: true })
const between = makeCertificate({ name: 'Between', issuer: authority, authority: true })
const client = makeCertificate({ name: 'client', issuer: authority, usage: 'clients' })
const stranger = makeCertificate({ name: 'client', issuer: makeCertificate({ name: 'Clients', authority: true }) })
const deep = makeCertificate({ name: 'client', issuer: between })

const timeoutMs = 20_000
/** Within which every node knows. */
const knownMs = 1_000

type Answer = { readonly status: number; readonly text: string }
type Ask = (method: string, path: string, key: string, body?: object) => Promise<Answer>

const chat = { model: 'keyhouse-test-chat', messages: [{ role: 'user', content: 'hello' }] }

async function succeed(ask: Ask, method: string, path: string, key: string, body?: object) {
  const answer = await ask(method, path, key, body)
  expect(answer.status, answer.text).toBe(200)
  return JSON.parse(answer.text)
}

const certificates = '/v1/organization/certificates'

async function activate(
  ask: Ask,
  { admin }: Keys,
  certificate: TestCertificate,
): Promise<{ certificate_ids: string[] }> {
  const { id } = await succeed(ask, 'POST', certificates, admin, { certificate: certificate.pem })
  const ids = { certificate_ids: [id] }
  await succeed(ask, 'POST', `${certificates}/activate`, admin, ids)
  await sleep(knownMs)
  return ids
}

function expectRefused({ status, text: body }: Answer, code: string): void {
  expect(status, body).toBe(401)
  expectEnvelope(body, { code })
}

describe('where Keyhouse ends TLS itself', () => {
  const servers = makeCertificate({ name: 'Servers', authority: true })
  const server = makeCertificate({ name: 'keyhouse', issuer: servers, usage: 'servers', address: '127.0.0.1' })
  let dataDir: string
  let keyhouse: RunningKeyhouse
  let keys: Keys

  beforeAll(async () => {
    dataDir = await newDataDir()
    await mkdir(dataDir, { recursive: true })
    const files = { 'tls-cert': join(dataDir, 'server.pem'), 'tls-key': join(dataDir, 'server.key') }
    await writeFile(files['tls-cert'], server.pem)
    await writeFile(files['tls-key'], server.key, { mode: 0o600 })
    keyhouse = await startKeyhouse({ dataDir, settings: files })
    if (!keyhouse.keys) throw new Error('the first start showed no keys')
    keys = keyhouse.keys
  })
  afterAll(async () => {
    await keyhouse?.stop()
    await removeDataDir(dataDir)
  })

  /** @param own what the client shows in the handshake */
  const over =
    (own?: TestCertificate, ...chain: TestCertificate[]): Ask =>
    (method, path, key, body) =>
      send(keyhouse.url + path, body, {
        method,
        headers: { authorization: `Bearer ${key}`, ...(body && { 'content-type': 'application/json' }) },
        ca: servers.pem,
        ...(own && { cert: [own, ...chain].map(({ pem }) => pem).join(''), key: own.key }),
        agent: false,
      })

  test('calls need the certificate while one is active, and the Administration API takes it back without', async () => {
    expect(keyhouse.url).toMatch(/^https:/)
    await succeed(over(), 'POST', '/v1/chat/completions', keys.test, chat)
    const ids = await activate(over(), keys, authority)

    expectRefused(await over()('POST', '/v1/chat/completions', keys.test, chat), 'client_certificate_required')
    expectRefused(await over()('GET', '/v1/models', keys.project), 'client_certificate_required')
    expectRefused(await over(stranger)('POST', '/v1/chat/completions', keys.test, chat), 'client_certificate_invalid')
    await succeed(over(client), 'POST', '/v1/chat/completions', keys.test, chat)
    await succeed(over(deep, between), 'GET', '/v1/models', keys.project)

    await succeed(over(), 'POST', `${certificates}/deactivate`, keys.admin, ids)
    await sleep(knownMs)
    await succeed(over(), 'POST', '/v1/chat/completions', keys.test, chat)
  })

  test('one that is active for a project binds that project', async () => {
    const { data } = await succeed(over(), 'GET', '/v1/organization/projects', keys.admin)
    const { id } = await succeed(over(), 'POST', certificates, keys.admin, { certificate: client.pem })
    const path = `/v1/organization/projects/${data[0].id}/certificates`
    await succeed(over(), 'POST', `${path}/activate`, keys.admin, { certificate_ids: [id] })
    await sleep(knownMs)
    expectRefused(await over()('GET', '/v1/models', keys.project), 'client_certificate_required')
    expectRefused(await over(deep, between)('GET', '/v1/models', keys.project), 'client_certificate_invalid')
    await succeed(over(client), 'GET', '/v1/models', keys.project)
    await succeed(over(), 'POST', `${path}/deactivate`, keys.admin, { certificate_ids: [id] })
  })

  test('a client that resumes its TLS session is known by the same chain', async () => {
    const { data } = await succeed(over(), 'GET', `${certificates}?order=asc`, keys.admin)
    const ids = { certificate_ids: [data[0].id] }
    await succeed(over(), 'POST', `${certificates}/activate`, keys.admin, ids)
    await sleep(knownMs)
    const agent = new Agent({ ca: servers.pem, cert: deep.pem + between.pem, key: deep.key, maxCachedSessions: 10 })
    for (let times = 0; times < 3; times += 1) {
      const headers = { authorization: `Bearer ${keys.project}` }
      const answer = await send(`${keyhouse.url}/v1/models`, undefined, { method: 'GET', headers, agent })
      expect(answer.status, `call ${times}: ${answer.text}`).toBe(200)
    }
    await succeed(over(), 'POST', `${certificates}/deactivate`, keys.admin, ids)
  })

  test('a client that speaks no TLS is cut, and the server goes on', async () => {
    const { port } = new URL(keyhouse.url)
    const socket = connect(Number(port), '127.0.0.1')
    socket.on('error', () => undefined)
    socket.write('GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n')
    await Promise.race([new Promise(resolve => socket.once('close', resolve)), sleep(timeoutMs)])
    expect(socket.closed).toBe(true)
    await succeed(over(), 'GET', '/health/live', keys.project)
  })
})

describe('where a proxy ends it', () => {
  const header = { name: 'ssl-client-cert', of: (one: TestCertificate) => encodeURIComponent(one.pem) }

  async function withProxies(proxies: string, work: (keys: Keys, showing: (value?: string) => Ask) => Promise<void>) {
    const dataDir = await newDataDir()
    const settings = { 'trusted-proxies': proxies, 'client-cert-header': header.name }
    const keyhouse = await startKeyhouse({ dataDir, settings })
    try {
      if (!keyhouse.keys) throw new Error('the first start showed no keys')
      await work(keyhouse.keys, value => over(keyhouse.url, value))
    } finally {
      await keyhouse.stop()
      await removeDataDir(dataDir)
    }
  }

  const over =
    (url: string, value?: string): Ask =>
    async (method, path, key, body) => {
      const response = await fetch(url + path, {
        method,
        headers: {
          authorization: `Bearer ${key}`,
          ...(body && { 'content-type': 'application/json' }),
          ...(value !== undefined && { [header.name]: value }),
        },
        ...(body && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(timeoutMs),
      })
      return { status: response.status, text: await response.text() }
    }

  test('its header is believed when the proxy is trusted', async () => {
    await withProxies('127.0.0.1', async (keys, showing) => {
      await activate(showing(), keys, authority)
      await succeed(showing(header.of(client)), 'POST', '/v1/chat/completions', keys.test, chat)
      const refused = async (value: string | undefined, code: string) =>
        expectRefused(await showing(value)('GET', '/v1/models', keys.project), code)
      await refused(undefined, 'client_certificate_required')
      await refused('', 'client_certificate_required')
      await refused(header.of(stranger), 'client_certificate_invalid')
      await refused('not a certificate', 'client_certificate_invalid')
    })
  })

  test('and from nobody else', async () => {
    await withProxies('10.9.8.7', async (keys, showing) => {
      await activate(showing(), keys, authority)
      const answer = await showing(header.of(client))('GET', '/v1/models', keys.project)
      expectRefused(answer, 'client_certificate_required')
    })
  })
})

async function send(url: string, body: object | undefined, options: RequestOptions): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request(url, { ...options, signal: AbortSignal.timeout(timeoutMs) }, response => {
      text(response).then(read => resolve({ status: response.statusCode ?? 0, text: read }), reject)
    })
    call.on('error', reject)
    call.end(body && JSON.stringify(body))
  })
}
