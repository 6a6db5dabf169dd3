import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Api, list, runOn, startApi } from '../testing.ts'

const secret = 'sk-upstream-secret-1234'
const provider = {
  object: 'platform.provider',
  id: 'prov_1',
  name: 'openai',
  adapter: 'openai-compatible',
  base_url: 'https://api.example/v1',
  credential_hint: '…1234',
  models: ['gpt-4o', 'gpt-new', 'a', 'b'],
  unpriced_models: ['gpt-new'],
  created_at: 1_790_000_000,
}

let api: Api
beforeEach(async () => {
  api = await startApi({
    'GET /v1/platform/providers': list([
      provider,
      { ...provider, name: 'local', base_url: null, credential_hint: null },
    ]),
    'POST /v1/platform/providers': provider,
    'DELETE /v1/platform/providers/openai': { deleted: true },
  })
})
afterEach(() => api.close())

const sent = () => JSON.parse(api.asked.at(-1)?.body ?? 'null')

test('a provider is added with its key from stdin, and what has no price is named with the next step', async () => {
  const { code, stdout, stderr } = await runOn(api, ['providers', 'add', 'openai', '--api-key-stdin'], {
    stdin: `${secret}\n`,
  })
  expect([code, stderr]).toEqual([0, ''])
  expect(sent()).toEqual({ name: 'openai', api_key: secret })
  expect(stdout).toContain('openai is connected with the credential …1234.\nModels (4): gpt-4o, gpt-new, a, b\n')
  expect(stdout).toContain('refused (1): gpt-new\nSet one: keyhouse prices set gpt-new --input USD --output USD\n')
})

test('a key on the command line works, with a warning, and is never shown', async () => {
  const { code, stdout, stderr } = await runOn(api, ['providers', 'add', 'openai', '--api-key', secret])
  expect([code, sent().api_key]).toEqual([0, secret])
  expect(stderr).toContain('warning: a key on the command line stays')
  expect(stdout + stderr).not.toContain(secret)
})

test('models are named, mapped and priced', async () => {
  const argv = [
    'providers',
    'add',
    'ours',
    '--base-url',
    'http://h/v1',
    '--no-api-key',
    '--model',
    'a',
    '--model',
    'b=org/b:1',
  ]
  await runOn(api, [...argv, '--price-input', '1', '--price-output', '2.5', '--kind', 'chat'])
  const priced = { kind: 'chat', input_usd_per_million: '1', output_usd_per_million: '2.5' }
  expect(sent()).toEqual({
    name: 'ours',
    base_url: 'http://h/v1',
    models: [
      { name: 'a', ...priced },
      { name: 'b', upstream_model: 'org/b:1', ...priced },
    ],
  })
})

test.each([
  [['--price-input', '1', '--price-output', '2']],
  [['--model', 'a', '--price-input', '1']],
  [['--model', 'a', '--price-input', '1', '--price-output', '2', '--free']],
  [['--model', '=b']],
  [['--api-key-stdin']],
])('%j is refused before anything is sent', async flags => {
  const { code } = await runOn(api, ['providers', 'add', 'ours', ...flags])
  expect([code, api.asked]).toEqual([2, []])
})

test('providers are listed with a hint of their credential, and removed by name', async () => {
  const { stdout } = await runOn(api, ['providers', 'list'])
  expect(stdout).toMatch(/^openai +https:\/\/api\.example\/v1 +…1234 +gpt-4o, gpt-new, a and 1 more +gpt-new$/m)
  expect(stdout).toMatch(/^local +built in +-/m)
  expect((await runOn(api, ['providers', 'remove', 'openai'])).code).toBe(0)
})
