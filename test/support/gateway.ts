/**
 * Keyhouse as a user starts it, with the fake upstream as its provider: two models, `m` to chat with and `e` to embed with.
 *
 * The fake cannot be told from outside how to behave for one call, so a test names a case in the request's own `user`
 * member, which Keyhouse passes on untouched.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Behaviour } from '../../src/providers/fake/behaviour.ts'
import { type FakeUpstream, startFakeUpstream } from '../../src/providers/fake/upstream.ts'
import { admin, type Keys, newDataDir, type RunningKeyhouse, removeDataDir, startKeyhouse } from './keyhouse.ts'

export type Body = Readonly<Record<string, unknown>>

export type GatewayOptions = {
  /** By setting name. */
  readonly settings?: Readonly<Record<string, string>>
  readonly env?: Readonly<Record<string, string>>
  /** How the upstream behaves, by the request's `user`. */
  readonly cases?: Readonly<Record<string, Partial<Behaviour>>>
}

export type TestGateway = {
  readonly keyhouse: RunningKeyhouse
  readonly keys: Keys
  readonly url: string
  readonly upstream: FakeUpstream
  /** A POST with the project key. */
  post(path: string, body: Body | string, init?: RequestInit): Promise<Response>
  /** A chat with `m` whose upstream behaves as the case says. */
  chat(user: string, body?: Body, init?: RequestInit): Promise<Response>
  admin<Answer>(method: string, path: string, body?: unknown): Promise<Answer>
  /** A new project key. */
  newKey(body?: Body): Promise<ProjectKey>
  /** Another server on the same data directory, once the first has ended; stopped with the rest. */
  restart(): Promise<RunningKeyhouse>
  stop(): Promise<void>
}

export type ProjectKey = { readonly id: string; readonly value: string; readonly path: string }

/** What Keyhouse calls the upstream with; must never be seen anywhere. */
export const upstreamCredential = 'sk-upstream-d41d8cd98f00b204e9800998'
export const inputUsdPerMillion = 3n
export const outputUsdPerMillion = 15n
export const cachedUsdPerMillion = 1n
const callTimeoutMs = 20_000
const modelLooksMax = 200
const modelLookEveryMs = 10
/** Short, so that a test can wait for what is reserved to come back. */
const leaseIdleMs = '1000'

export async function startGateway(options: GatewayOptions = {}): Promise<TestGateway> {
  const { settings = {}, env = {}, cases = {} } = options
  const upstream = await startFakeUpstream({ behaviour: ({ body }) => cases[String(body.user)] ?? {} })
  const dataDir = await newDataDir()
  const keyhouse = await startKeyhouse({ dataDir, settings: { 'lease-idle-ms': leaseIdleMs, ...settings }, env })
  const { keys } = keyhouse
  if (!keys) throw new Error('the first start showed no keys')
  const post: TestGateway['post'] = (path, body, { headers, ...init } = {}) =>
    fetch(keyhouse.url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${keys.project}`, 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
      signal: AbortSignal.timeout(callTimeoutMs),
      ...init,
    })
  const running = [keyhouse]
  const gateway: TestGateway = {
    keyhouse,
    keys,
    url: keyhouse.url,
    upstream,
    post,
    chat: (user, body, init) => post('/v1/chat/completions', chatBody(user, body), init),
    admin: (method, path, body) => admin(keyhouse, keys.admin, method, path, body),
    newKey: body => newKey(gateway, body),
    async restart() {
      const again = await startKeyhouse({ dataDir })
      running.push(again)
      return again
    },
    async stop() {
      for (const each of running) await each.stop()
      await upstream.stop()
      await removeDataDir(dataDir)
    },
  }
  try {
    await gateway.admin('POST', '/v1/platform/providers', fakeProvider(upstream.url))
    await modelsAreThere(gateway)
  } catch (error) {
    await gateway.stop()
    throw error
  }
  return gateway
}

/** The gateway hears of new models a moment after they were made. */
async function modelsAreThere({ url, keys }: TestGateway): Promise<void> {
  for (let turn = 0; turn < modelLooksMax; turn += 1) {
    const { status } = await fetch(`${url}/v1/models/m`, { headers: { authorization: `Bearer ${keys.project}` } })
    if (status === 200) return
    await sleep(modelLookEveryMs)
  }
  throw new Error('the models did not appear')
}

export const fakeProvider = (url: string) => ({
  name: 'upstream',
  base_url: `${url}/v1`,
  api_key: upstreamCredential,
  models: [
    {
      name: 'm',
      kind: 'chat',
      input_usd_per_million: String(inputUsdPerMillion),
      cached_input_usd_per_million: String(cachedUsdPerMillion),
      output_usd_per_million: String(outputUsdPerMillion),
    },
    { name: 'e', kind: 'embedding', input_usd_per_million: '0.1', output_usd_per_million: '0' },
  ],
})

export const chatBody = (user: string, body: Body = {}): Body => ({
  model: 'm',
  user,
  messages: [{ role: 'user', content: 'hello there' }],
  ...body,
})

type List = { readonly data: readonly { readonly id: string }[] }

async function newKey(gateway: TestGateway, body: Body = {}): Promise<ProjectKey> {
  const { data } = await gateway.admin<List>('GET', '/v1/organization/projects')
  const keys = `/v1/organization/projects/${data[0]?.id}/api_keys`
  const key = await gateway.admin<{ id: string; value: string }>('POST', keys, { name: 'another', ...body })
  return { ...key, path: `${keys}/${key.id}` }
}
