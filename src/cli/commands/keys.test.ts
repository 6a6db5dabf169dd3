import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Api, list, projectKey, refuse, runOn, startApi } from '../testing.ts'

const project = (id: string, status: string) => ({ id, name: `The ${id}`, created_at: 1_790_000_000, status })
const key = {
  object: 'organization.project.api_key',
  id: 'key_1',
  name: 'laptop',
  redacted_value: 'sk-kh-proj-****wxyz',
  created_at: 1_790_000_000,
  last_used_at: 1_790_000_000,
  expires_at: null,
  scopes: ['model.request'],
  kind: 'project',
  owner_project_access: 'active',
}

let api: Api
beforeEach(async () => {
  api = await startApi({
    'GET /v1/organization/projects': list([
      project('proj_old', 'archived'),
      project('proj_a', 'active'),
      project('proj_b', 'active'),
    ]),
    'GET /v1/organization/projects/proj_b': project('proj_b', 'active'),
    'GET /v1/organization/projects/proj_old/api_keys': list([]),
    'GET /v1/organization/projects/proj_a/api_keys': list([]),
    'GET /v1/organization/projects/proj_b/api_keys': list([key]),
    'GET /v1/organization/projects/proj_b/api_keys/key_1': key,
    'DELETE /v1/organization/projects/proj_b/api_keys/key_1': { id: 'key_1', deleted: true },
    'POST /v1/organization/projects/proj_a/api_keys': { ...key, value: projectKey },
    'POST /v1/organization/projects/proj_b/api_keys': { ...key, value: projectKey, expires_at: 1_790_003_600 },
    'POST /v1/organization/admin_api_keys': { ...key, value: 'sk-kh-admin-new' },
    'GET /v1/platform/models': list([
      { name: 'keyhouse-test-chat', kind: 'chat', local: null },
      { name: 'remote', kind: 'chat', local: null },
      { name: 'here', kind: 'chat', local: { status: 'ready' } },
    ]),
  })
})
afterEach(() => api.close())

const sentBody = (method: string, path: string) =>
  JSON.parse(api.asked.find(asked => asked.method === method && asked.path === path)?.body ?? 'null')

describe('keys create', () => {
  test('shows the key once, in lines that can be pasted, for the first active project', async () => {
    const { code, stdout, stderr } = await runOn(api, ['keys', 'create', '--name', 'laptop'])
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout.split(projectKey)).toHaveLength(2)
    expect(stdout).toContain(`\n  export OPENAI_API_KEY=${projectKey}\n  export OPENAI_BASE_URL=${api.url}/v1\n`)
    expect(stdout).toMatch(/curl "\$OPENAI_BASE_URL\/chat\/completions" .*\\\n.*"model":"here"/)
    expect(sentBody('POST', '/v1/organization/projects/proj_a/api_keys')).toEqual({ name: 'laptop' })
  })

  test('sends project, scopes and expiry', async () => {
    const argv = [
      'keys',
      'create',
      '--name',
      'x',
      '--project',
      'proj_b',
      '--scopes',
      'model.request, api.model.read',
      '--expires',
      '1h',
    ]
    const { stdout } = await runOn(api, argv)
    expect(sentBody('POST', '/v1/organization/projects/proj_b/api_keys')).toEqual({
      name: 'x',
      scopes: ['model.request', 'api.model.read'],
      expires_in_seconds: 3600,
    })
    expect(stdout).toContain('for The proj_b, valid until 2026-09-21 15:13 UTC')
  })

  test('a read-only test key calls the test model', async () => {
    const { stdout } = await runOn(api, ['keys', 'create', '--test', '--read-only'], { nowMs: 1_790_000_000_000 })
    expect(sentBody('POST', '/v1/organization/projects/proj_a/api_keys')).toEqual({
      name: 'cli 2026-09-21 14:13',
      scopes: ['api.all.read'],
      test: true,
    })
    expect(stdout).toContain('"model":"keyhouse-test-chat"')
  })

  test('an admin key comes with the line that the CLI reads', async () => {
    const { stdout } = await runOn(api, ['keys', 'create', '--admin', '--name', 'ci'])
    expect(stdout).toContain('export KEYHOUSE_ADMIN_KEY=sk-kh-admin-new\n')
  })

  test('--json is the key as the API gave it', async () => {
    const { stdout } = await runOn(api, ['keys', 'create', '--json'])
    expect(JSON.parse(stdout)).toEqual({ ...key, value: projectKey, project_id: 'proj_a' })
  })
})

describe('keys list', () => {
  test('shows the keys of all projects with their last use', async () => {
    const { stdout } = await runOn(api, ['keys', 'list'], { nowMs: 1_790_007_200_000 })
    expect(stdout).toMatch(/^key_1 +laptop +sk-kh-proj-\*\*\*\*wxyz +The proj_b +model\.request +2 h ago +never$/m)
  })

  test('--json names the project of each', async () => {
    const { stdout } = await runOn(api, ['keys', 'list', '--project', 'proj_b', '--json'])
    expect(JSON.parse(stdout)).toEqual({ object: 'list', data: [{ ...key, project_id: 'proj_b' }] })
  })

  test('follows the pages', async () => {
    const pages = await startApi({
      'GET /v1/organization/admin_api_keys': ({ query }: { query: URLSearchParams }) =>
        query.get('after') === 'key_1'
          ? list([{ ...key, id: 'key_2' }])
          : { ...list([key]), has_more: true, last_id: 'key_1' },
    })
    const { stdout } = await runOn(pages, ['keys', 'list', '--admin', '--json'])
    await pages.close()
    expect(JSON.parse(stdout).data.map(({ id }: { id: string }) => id)).toEqual(['key_1', 'key_2'])
  })
})

describe('keys revoke', () => {
  test('finds the project that the key belongs to', async () => {
    const { code, stdout } = await runOn(api, ['keys', 'revoke', 'key_1'])
    expect([code, stdout]).toEqual([0, expect.stringContaining('Revoked key_1.')])
    expect(api.asked.at(-1)).toMatchObject({
      method: 'DELETE',
      path: '/v1/organization/projects/proj_b/api_keys/key_1',
    })
  })

  test('an error while looking is not taken for "not there"', async () => {
    const failing = await startApi({
      'GET /v1/organization/projects': list([]),
      'GET /v1/organization/admin_api_keys/key_1': refuse(500, 'The server had an error.'),
    })
    const { code, stderr } = await runOn(failing, ['keys', 'revoke', 'key_1'])
    await failing.close()
    expect([code, stderr]).toEqual([1, expect.stringContaining('The server had an error.')])
  })
})
