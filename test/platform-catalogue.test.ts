// Providers, models, prices, aliases and local models, as the operator manages them.
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ensureBuiltins } from '#platform/builtins.ts'
import { fakeModels } from '#providers/fake/models.ts'
import { readCatalogue } from '#storage/catalogue.ts'
import { sql } from '#storage/database.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

let platform: TestPlatform

beforeAll(async () => {
  platform = await testPlatform()
})
afterAll(() => platform?.stop())

const ask = (method: string, path: string, body?: unknown) =>
  platform.send(platform.first.adminKey, method, `/v1/platform${path}`, body)

async function modelNamed(name: string) {
  const { json } = await ask('GET', '/models?limit=100')
  return json.data.find((model: { name: string }) => model.name === name)
}

const catalogue = () =>
  readCatalogue(platform.database, platform.secrets, (_provider, cause) => {
    throw cause
  })

type Upstream = { readonly url: string; readonly authorizations: (string | undefined)[]; stop(): Promise<void> }

async function upstream(answer: RequestListener): Promise<Upstream> {
  const authorizations: (string | undefined)[] = []
  const server = createServer((request, response) => {
    authorizations.push(request.headers.authorization)
    answer(request, response)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  // A TCP server's address is never text
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/v1`,
    authorizations,
    async stop() {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

const listing = (...ids: string[]): RequestListener => {
  return (_request, response) =>
    response.end(JSON.stringify({ object: 'list', data: ids.map(id => ({ id, object: 'model' })) }))
}

const credential = 'sk-upstream-0123456789-wxyz'

describe('what comes with Keyhouse', () => {
  test('local and test models are there with a route and a nominal price', async () => {
    expect(await modelNamed('tinyllama-1.1b-chat')).toMatchObject({
      kind: 'chat',
      context_tokens_max: 2048,
      price: { input_usd_per_million: '0.02', output_usd_per_million: '0.04', source: 'builtin' },
      routes: [{ provider: 'local', upstream_model: 'tinyllama-1.1b-chat' }],
      local: { status: 'absent', percent: 0, bytes: 1000 },
    })
    expect(await modelNamed('all-minilm-l6-v2')).toMatchObject({ kind: 'embedding', output_tokens_max: null })
    expect(await modelNamed('keyhouse-test-chat')).toMatchObject({ routes: [{ provider: 'fake' }], local: null })
    const { models } = await catalogue()
    expect([...models.keys()].filter(name => name.startsWith('keyhouse-test-'))).toHaveLength(
      Object.keys(fakeModels).length,
    )
  })

  test('what the operator changed or removed stays so over the next start', async () => {
    await ask('POST', '/models/all-minilm-l6-v2/price', { input_usd_per_million: '3', output_usd_per_million: 0 })
    await ask('DELETE', '/models/keyhouse-test-slow')
    const before = await platform.database.query(sql('select id from auth_events'))
    await ensureBuiltins({ database: platform.database, localModels: await platform.localModels.list(), fakeModels })
    expect((await modelNamed('all-minilm-l6-v2')).price.input_usd_per_million).toBe('3.00')
    expect(await modelNamed('keyhouse-test-slow')).toBeUndefined()
    expect(await platform.database.query(sql('select id from auth_events'))).toHaveLength(before.length)
  })

  test('the built-in providers can be neither changed nor removed', async () => {
    expect((await ask('DELETE', '/providers/local')).status).toBe(409)
    expect((await ask('POST', '/providers', { name: 'fake', base_url: 'http://127.0.0.1:1' })).status).toBe(409)
  })
})

describe('a provider', () => {
  test('is asked for its models, and its credential is kept sealed and shown to nobody', async () => {
    const there = await upstream(
      listing('gpt-4o', 'text-embedding-3-small', 'whisper-1', 'our-own', 'keyhouse-test-chat'),
    )
    try {
      const body = { name: 'openai', base_url: `${there.url}/`, api_key: credential }
      const { status, json, text } = await ask('POST', '/providers', body)
      expect(status).toBe(200)
      expect(json).toMatchObject({
        name: 'openai',
        adapter: 'openai-compatible',
        base_url: there.url,
        credential_hint: '…wxyz',
        models: ['gpt-4o', 'our-own', 'text-embedding-3-small'],
        unpriced_models: ['our-own'],
      })
      expect(there.authorizations).toEqual([`Bearer ${credential}`])
      expect(text).not.toContain(credential)
      const rows = await platform.database.query<{ credential_sealed: Buffer }>(sql('select * from providers'))
      expect(rows.some(row => row.credential_sealed?.includes(credential))).toBe(false)
      expect(platform.logged.join()).not.toContain(credential)
      const { models } = await catalogue()
      expect(models.get('gpt-4o')).toMatchObject({
        kind: 'chat',
        prices: [{ inputNanoUsdPerMillion: 2_500_000_000n, cachedInputNanoUsdPerMillion: 1_250_000_000n }],
        targets: [{ baseUrl: there.url, credential, upstreamModel: 'gpt-4o' }],
      })
      expect(models.get('text-embedding-3-small')).toMatchObject({
        kind: 'embedding',
        prices: [{ outputNanoUsdPerMillion: 0n }],
      })
    } finally {
      await there.stop()
    }
  })

  test('that is added again takes over address, credential and models, and keeps the operator’s price', async () => {
    const one = await upstream(listing('first', 'shared'))
    const two = await upstream(listing('second', 'shared'))
    try {
      const made = (
        await ask('POST', '/providers', { name: 'host', base_url: one.url, api_key: credential, free: true })
      ).json
      expect(made.unpriced_models).toEqual([])
      await ask('POST', '/models/shared/price', { input_usd_per_million: '1', output_usd_per_million: '2' })
      // Whoever may change the address must not get the credential sent there
      const moved = await ask('POST', '/providers', { name: 'host', base_url: two.url, free: true })
      expect([moved.status, moved.json.error.param]).toEqual([400, 'api_key'])
      expect(two.authorizations).toEqual([])
      const again = (
        await ask('POST', '/providers', { name: 'host', base_url: two.url, api_key: `${credential}2`, free: true })
      ).json
      expect(again).toMatchObject({ id: made.id, base_url: two.url, models: ['second', 'shared'] })
      expect(await modelNamed('first')).toBeUndefined()
      expect((await modelNamed('shared')).price).toMatchObject({ input_usd_per_million: '1.00', source: 'operator' })
      const kept = await ask('POST', '/providers', { name: 'host', free: true })
      expect([kept.status, two.authorizations]).toEqual([200, [`Bearer ${credential}2`, `Bearer ${credential}2`]])
    } finally {
      await one.stop()
      await two.stop()
    }
  })

  test('takes models with it when it goes, but not those that others serve', async () => {
    const models = [{ name: 'only-here', upstream_model: 'x' }, { name: 'both' }]
    await ask('POST', '/providers', { name: 'leaving', base_url: 'http://127.0.0.1:9/v1', models, free: true })
    await ask('POST', '/providers', {
      name: 'staying',
      base_url: 'http://127.0.0.1:9/v1',
      models: [{ name: 'both' }],
      free: true,
    })
    expect((await modelNamed('both')).routes.map((route: { provider: string }) => route.provider)).toEqual([
      'leaving',
      'staying',
    ])
    expect((await ask('DELETE', '/providers/leaving')).json).toMatchObject({ deleted: true })
    expect(await modelNamed('only-here')).toBeUndefined()
    expect((await modelNamed('both')).routes).toEqual([{ provider: 'staying', upstream_model: 'both' }])
    expect((await ask('GET', '/providers/leaving')).status).toBe(404)
  })

  test('gets no model for nothing because another one gave it away, not even when that one is gone', async () => {
    const paid = (body: object) =>
      ask('POST', '/providers', { name: 'paid', base_url: 'http://127.0.0.1:9/v1', ...body })
    for (const name of ['both', 'only-here', 'tinyllama-1.1b-chat']) {
      const { status, json } = await paid({ models: [{ name }] })
      expect([status, json.error.message]).toEqual([409, expect.stringContaining('Give it a price')])
    }
    expect((await ask('GET', '/providers/paid')).status).toBe(404)
    const priced = { name: 'only-here', input_usd_per_million: '5', output_usd_per_million: '6' }
    expect((await paid({ models: [priced] })).json.models).toEqual(['only-here'])
    expect((await modelNamed('only-here')).price.input_usd_per_million).toBe('5.00')
    await ask('DELETE', '/providers/paid')
  })

  test('is read by id and by name, in a list with the built-in ones', async () => {
    const { json } = await ask('GET', '/providers')
    const names = json.data.map((row: { name: string }) => row.name)
    expect(names).toEqual(expect.arrayContaining(['local', 'fake', 'staying']))
    const byName = (await ask('GET', '/providers/staying')).json
    expect((await ask('GET', `/providers/${byName.id}`)).json).toEqual(byName)
  })

  test.each([
    ['refuses the credential', 401, 'upstream_credential'],
    ['fails', 500, 'upstream_error'],
    ['redirects', 302, 'upstream_error'],
    ['answers nonsense', 200, 'upstream_invalid'],
  ])('that %s is not added, and the reason is told', async (_what, status, code) => {
    const there = await upstream((_request, response) => {
      response.writeHead(status, { location: 'http://127.0.0.1:9/elsewhere' }).end('<html>')
    })
    try {
      const { json } = await ask('POST', '/providers', { name: 'broken', base_url: there.url, api_key: credential })
      expect(json.error.code).toBe(code)
      expect((await ask('GET', '/providers/broken')).status).toBe(404)
    } finally {
      await there.stop()
    }
  })

  test('that nobody answers for is not added', async () => {
    const { status, json } = await ask('POST', '/providers', { name: 'absent', base_url: 'http://127.0.0.1:9/v1' })
    expect([status, json.error.code]).toEqual([502, 'upstream_unreachable'])
    expect(json.error.message).toContain('could not be reached at http://127.0.0.1:9/v1, so nothing was changed')
  })

  test.each([
    [{ name: 'x' }, 'base_url'],
    [{ name: 'x', base_url: 'ftp://host/v1' }, 'base_url'],
    [{ name: 'x', base_url: 'http://user:secret@host/v1' }, 'base_url'],
    [{ name: 'Not A Name', base_url: 'http://host/v1' }, 'name'],
    [
      { name: 'x', base_url: 'http://host', models: [{ name: 'm', output_usd_per_million: 1 }] },
      'models[0].input_usd_per_million',
    ],
    [
      { name: 'x', base_url: 'http://host', models: [{ name: 'm', input_usd_per_million: 1 }] },
      'models[0].output_usd_per_million',
    ],
    [{ name: 'x', base_url: 'http://host', models: [{ name: 'keyhouse-test-mine' }] }, 'models[0].name'],
  ])('%j is refused by the name of %s', async (body, param) => {
    const { status, json } = await ask('POST', '/providers', body)
    expect([status, json.error.param]).toEqual([400, param])
  })
})

describe('models', () => {
  test('a name with slashes and colons works, percent-encoded', async () => {
    const name = 'meta-llama/Llama-3.1:8b'
    const path = `/models/${encodeURIComponent(name)}`
    const body = {
      routes: [{ provider: 'staying', upstream_model: 'llama3' }, { provider: 'local' }],
      output_tokens_max: 512,
    }
    expect((await ask('POST', path, body)).json).toMatchObject({
      name,
      kind: 'chat',
      price: null,
      output_tokens_max: 512,
      routes: [
        { provider: 'staying', upstream_model: 'llama3' },
        { provider: 'local', upstream_model: name },
      ],
    })
    const priced = await ask('POST', `${path}/price`, {
      input_usd_per_million: '0.000000001',
      output_usd_per_million: 1.5,
    })
    expect(priced.json.price).toMatchObject({
      input_usd_per_million: '0.000000001',
      cached_input_usd_per_million: '0.000000001',
      output_usd_per_million: '1.50',
    })
    expect((await ask('DELETE', path)).json).toEqual({ object: 'platform.model.deleted', name, deleted: true })
    expect((await ask('DELETE', path)).status).toBe(404)
  })

  test('a price is a new row each time, and the rows before it stay', async () => {
    for (const input of ['1', '2', '3']) {
      await ask('POST', '/models/both/price', { input_usd_per_million: input, output_usd_per_million: '1' })
    }
    const inputs = sql("select input_nano_usd_per_million::text as input from prices where model = 'both' order by id")
    const rows = await platform.database.query<{ input: string }>(inputs)
    expect(rows.map(({ input }) => input)).toEqual(['0', '1000000000', '2000000000', '3000000000'])
    expect((await modelNamed('both')).price.input_usd_per_million).toBe('3.00')
  })

  test('a route to nobody and a price for nothing are refused', async () => {
    const route = await ask('POST', '/models/m', { routes: [{ provider: 'staying' }, { provider: 'nobody' }] })
    expect([route.status, route.json.error.param]).toEqual([400, 'routes[1].provider'])
    const price = await ask('POST', '/models/nothing/price', { input_usd_per_million: 1, output_usd_per_million: 1 })
    expect(price.status).toBe(404)
    expect((await ask('POST', '/models/keyhouse-test-mine', { routes: [{ provider: 'staying' }] })).status).toBe(400)
  })

  test('an alias stands for a model, moves, goes, and hides nothing', async () => {
    const set = (model: string) => ask('POST', '/model_aliases', { alias: 'davinci-codex', model })
    expect((await set('both')).json).toEqual({ object: 'platform.model_alias', alias: 'davinci-codex', model: 'both' })
    expect((await set('tinyllama-1.1b-chat')).status).toBe(200)
    expect((await modelNamed('tinyllama-1.1b-chat')).aliases).toEqual(['davinci-codex'])
    expect((await ask('GET', '/model_aliases')).json.data).toEqual([
      { object: 'platform.model_alias', alias: 'davinci-codex', model: 'tinyllama-1.1b-chat' },
    ])
    expect((await set('nothing')).status).toBe(404)
    expect((await ask('POST', '/model_aliases', { alias: 'both', model: 'tinyllama-1.1b-chat' })).status).toBe(409)
    expect((await ask('POST', '/models/davinci-codex', { routes: [{ provider: 'staying' }] })).status).toBe(409)
    expect((await ask('DELETE', '/model_aliases/davinci-codex')).json).toMatchObject({ deleted: true })
    expect((await catalogue()).aliases.size).toBe(0)
  })
})

describe('a pull', () => {
  const lines = (text: string) =>
    text
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))

  test('tells its progress line by line, and how it ended', async () => {
    const { text, headers } = await ask('POST', '/models/tinyllama-1.1b-chat/pull')
    expect(headers.get('content-type')).toBe('application/x-ndjson')
    expect(lines(text)).toEqual([
      { status: 'downloading', part: 'weights', bytes_done: 50, bytes_total: 200, percent: 25 },
      { status: 'ready' },
    ])
    expect((await modelNamed('tinyllama-1.1b-chat')).local).toMatchObject({ status: 'ready', percent: 100 })
    platform.localModels.failure = 'the disk is full'
    const failed = await ask('POST', '/models/tinyllama-1.1b-chat/pull', {})
    platform.localModels.failure = undefined
    expect(lines(failed.text).at(-1)).toEqual({ status: 'failed', reason: 'the disk is full' })
  })

  test('from elsewhere needs a hash, and offers the model without a price', async () => {
    const path = '/models/my-own/pull'
    expect((await ask('POST', path)).status).toBe(404)
    const from = { from_file: '/weights/my-own.gguf' }
    expect((await ask('POST', path, from)).json.error.param).toBe('sha256')
    const sha256 = 'ab'.repeat(32)
    expect((await ask('POST', path, { ...from, from_url: 'https://host/x.gguf', sha256 })).json.error.param).toBe(
      'from_file',
    )
    expect(lines((await ask('POST', path, { ...from, sha256 })).text).at(-1)).toEqual({ status: 'ready' })
    expect(platform.localModels.pulled.at(-1)).toEqual({ name: 'my-own', from: from.from_file, sha256 })
    expect(await modelNamed('my-own')).toMatchObject({
      price: null,
      routes: [{ provider: 'local', upstream_model: 'my-own' }],
      local: { status: 'ready' },
    })
  })

  test('goes on when whoever asked for it hangs up', async () => {
    let open: () => void = () => undefined
    platform.localModels.gate = new Promise(resolve => {
      open = resolve
    })
    const leave = new AbortController()
    const sha256 = 'cd'.repeat(32)
    const response = await fetch(`${platform.url}/v1/platform/models/left-alone/pull`, {
      method: 'POST',
      headers: { authorization: `Bearer ${platform.first.adminKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ from_file: '/weights/x.gguf', sha256 }),
      signal: leave.signal,
    })
    expect(response.status).toBe(200)
    leave.abort()
    open()
    for (let waits = 0; waits < 100 && !(await modelNamed('left-alone')); waits += 1) await sleep(20)
    expect(await modelNamed('left-alone')).toMatchObject({ local: { status: 'ready' } })
  })
})
