/** What an owner allows a project, as its keys feel it: models and hosted tools, everywhere within a second. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startGateway, type TestGateway } from './support/gateway.ts'
import { expectRefusal } from './support/refusals.ts'

const knownMs = 1_000

let gateway: TestGateway
let project: string

beforeAll(async () => {
  gateway = await startGateway()
  type Projects = { readonly data: readonly { readonly id: string }[] }
  const { data } = await gateway.admin<Projects>('GET', '/v1/organization/projects')
  project = data[0]?.id ?? ''
})
afterAll(() => gateway?.stop())

async function set(setting: string, body: object): Promise<void> {
  await gateway.admin('POST', `/v1/organization/projects/${project}/${setting}`, body)
  await sleep(knownMs)
}

async function listed(key = gateway.keys.project): Promise<string[]> {
  const headers = { authorization: `Bearer ${key}` }
  const response = await fetch(`${gateway.url}/v1/models`, { headers, signal: AbortSignal.timeout(20_000) })
  // The list of models, as the SDK's tests check it
  const { data } = (await response.json()) as { data: { id: string }[] }
  return data.map(({ id }) => id)
}

test('a project calls and sees the models on its allow list, and no others', async () => {
  expect((await gateway.chat('usual')).status).toBe(200)
  expect(await listed()).toEqual(expect.arrayContaining(['e', 'm']))

  await set('model_permissions', { mode: 'allow_list', model_ids: ['e'] })
  expect(await listed()).toEqual(['e'])
  await expectRefusal(await gateway.chat('usual'), {
    status: 403,
    code: 'model_not_found',
    param: 'model',
    message: expect.stringContaining(`Project \`${project}\` does not have access to model \`m\``),
  })
  expect((await gateway.post('/v1/embeddings', { model: 'e', input: 'x' })).status).toBe(200)
})

test('a deny list is all but these, and an empty allow list is none', async () => {
  await set('model_permissions', { mode: 'deny_list', model_ids: ['e'] })
  expect((await gateway.chat('usual')).status).toBe(200)
  await expectRefusal(await gateway.post('/v1/embeddings', { model: 'e', input: 'x' }), { status: 403 })
  await set('model_permissions', { mode: 'allow_list', model_ids: [] })
  expect(await listed()).toEqual([])
  await gateway.admin('DELETE', `/v1/organization/projects/${project}/model_permissions`)
  await sleep(knownMs)
  expect((await gateway.chat('usual')).status).toBe(200)
})

test('a key with a list of its own calls and sees what both lists allow', async () => {
  const key = await gateway.newKey({ allowed_models: ['m'] })
  const headers = { authorization: `Bearer ${key.value}` }
  const embed = { model: 'e', input: 'x' }
  expect(await listed(key.value)).toEqual(['m'])
  expect((await gateway.chat('usual', {}, { headers })).status).toBe(200)
  await expectRefusal(await gateway.post('/v1/embeddings', embed, { headers }), {
    status: 403,
    code: 'model_not_found',
    param: 'model',
    message: expect.stringMatching(/^The API key sk-kh-proj-\S+ does not have access to model `e`/),
  })
  expect((await fetch(`${gateway.url}/v1/models/e`, { headers, signal: AbortSignal.timeout(20_000) })).status).toBe(404)
  await set('model_permissions', { mode: 'allow_list', model_ids: ['e'] })
  expect(await listed(key.value)).toEqual([])
  await expectRefusal(await gateway.chat('usual', {}, { headers }), {
    status: 403,
    message: expect.stringContaining(`Project \`${project}\``),
  })
  await gateway.admin('DELETE', `/v1/organization/projects/${project}/model_permissions`)
})

test('a model can be called the moment its admin call has answered', async () => {
  const prices = { input_usd_per_million: '1', output_usd_per_million: '1' }
  for (let turn = 0; turn < 5; turn += 1) {
    const model = { name: `just-added-${turn}`, kind: 'chat', upstream_model: 'm', ...prices }
    const provider = { name: `another-${turn}`, base_url: `${gateway.upstream.url}/v1`, models: [model] }
    await gateway.admin('POST', '/v1/platform/providers', provider)
    expect([turn, (await gateway.chat('usual', { model: model.name })).status]).toEqual([turn, 200])
  }
  await expectRefusal(await gateway.chat('usual', { model: 'never-added' }), { status: 404, code: 'model_not_found' })
})

test('a call that names a disabled hosted tool is refused before it costs anything', async () => {
  const searching = { tools: [{ type: 'function', function: { name: 'f' } }, { type: 'web_search_preview' }] }
  expect((await gateway.chat('usual', searching)).status).toBe(200)
  await set('hosted_tool_permissions', { web_search: { enabled: false } })
  const elsewhere = [{ search_parameters: { mode: 'on' } }, { plugins: [{ id: 'web' }] }, { enable_search: true }]
  for (const body of [searching, { tools: [{ type: 'web_search' }] }, { web_search_options: {} }, ...elsewhere]) {
    await expectRefusal(await gateway.chat('usual', body), {
      status: 403,
      code: 'tool_not_permitted',
      param: 'tools',
      message: expect.stringContaining('hosted tool `web_search`'),
    })
  }
  const other = { tools: [{ type: 'mcp' }, null, 'web_search', { type: 'function', function: { name: 'web_search' } }] }
  expect((await gateway.chat('usual', other)).status).toBe(200)
})
