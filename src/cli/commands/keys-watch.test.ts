import { afterEach, expect, test } from 'vitest'
import { type Api, projectKey, runOn, startApi } from '../testing.ts'

const apis: Api[] = []
afterEach(async () => {
  for (const api of apis.splice(0)) await api.close()
})

async function served(routes: Parameters<typeof startApi>[0]): Promise<Api> {
  const api = await startApi(routes)
  apis.push(api)
  return api
}

const path = '/v1/organization/projects/proj_1/api_keys/key_1/compromised'
const use = { calls: 1_234, cost_usd: '0.5', first_used_at: 1_790_000_000, last_used_at: 1_790_003_600 }
const report = {
  object: 'organization.project.api_key.compromised',
  id: 'key_1',
  revoked_at: 1_790_003_700,
  replacement: { id: 'key_2', name: 'web', value: projectKey },
  woken_backup_id: 'key_3',
  activity: {
    ...use,
    from: 1_789_917_300,
    to: 1_790_003_700,
    models: [{ model: 'gpt', input_tokens: 1, output_tokens: 1, ...use }],
    addresses: [{ address: null, ...use }],
  },
}
const words = ['keys', 'compromised', 'key_1', '--project', 'proj_1']

test('a compromised key: what was done, the new key once, and what the old one did', async () => {
  const api = await served({ [`POST ${path}`]: report })
  const more = [
    '--replace',
    '--scopes',
    'model.request',
    '--cidr',
    '192.0.2.0/24',
    '--model',
    'm',
    '--expires',
    '1d',
    '--hours',
    '48',
  ]
  const { code, stdout } = await runOn(api, [...words, ...more])
  expect(code).toBe(0)
  expect(JSON.parse(api.asked.at(-1)?.body ?? '')).toEqual({
    replacement: {
      scopes: ['model.request'],
      allowed_cidrs: ['192.0.2.0/24'],
      allowed_models: ['m'],
      expires_in_seconds: 86_400,
    },
    window_hours: 48,
  })
  expect(stdout).toContain('Revoked key_1.')
  expect(stdout).toContain('backup key key_3 works from now on')
  expect(stdout).toContain(`\n  ${projectKey}\n`)
  expect(stdout).toContain('1,234 calls for $0.5')
  expect(stdout).toMatch(/gpt +1,234 +0\.5/)
  expect(stdout).toMatch(/unknown +1,234/)
})

test('without --replace none is made, and settings of a new key are a mistake', async () => {
  const quiet = { ...report, replacement: null, woken_backup_id: null, activity: { ...report.activity, calls: 0 } }
  const api = await served({ [`POST ${path}`]: quiet })
  expect((await runOn(api, words)).stdout).toContain('It made no call since')
  expect(JSON.parse(api.asked.at(-1)?.body ?? '')).toEqual({})
  expect((await runOn(api, [...words, '--scopes', 'model.request'])).code).toBe(2)
  expect((await runOn(api, [...words, '--hours', 'many'])).code).toBe(2)
  expect(JSON.parse((await runOn(api, [...words, '--json'])).stdout)).toEqual(quiet)
})

test('hygiene is a line for each finding, over all pages', async () => {
  const finding = (id: string) => ({
    object: 'organization.key_finding',
    reason: 'never_expires',
    key: { id, name: 'web', redacted_value: 'sk', kind: 'project', project: null },
    proof: 'it has no expiry',
    mend: `keyhouse keys update ${id} --expires 90d`,
  })
  const api = await served({
    'GET /v1/organization/key_hygiene': ({ query }) =>
      query.get('after') === 'key_1'
        ? { object: 'list', data: [finding('key_2')], has_more: false, next: null }
        : { object: 'list', data: [finding('key_1')], has_more: true, next: 'key_1' },
  })
  const { stdout } = await runOn(api, ['keys', 'hygiene'])
  expect(stdout).toMatch(/key_1 +web +never expires +it has no expiry +keyhouse keys update key_1 --expires 90d/)
  expect(stdout).toContain('key_2')
  expect(JSON.parse((await runOn(api, ['keys', 'hygiene', '--json'])).stdout).data).toHaveLength(2)
})
