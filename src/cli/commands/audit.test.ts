import { afterEach, expect, test } from 'vitest'
import { type Api, list, runOn, startApi } from '../testing.ts'

const apis: Api[] = []
afterEach(async () => {
  for (const api of apis.splice(0)) await api.close()
})

async function served(routes: Parameters<typeof startApi>[0]): Promise<Api> {
  const api = await startApi(routes)
  apis.push(api)
  return api
}

const entry = {
  id: 'audit_log-1',
  type: 'api_key.created',
  effective_at: 1_790_000_000,
  project: { id: 'proj_1', name: 'Web' },
  actor: {
    type: 'api_key',
    api_key: { id: 'key_2', type: 'user', user: { id: 'user-1', email: 'ada@example.com' }, ip_address: '192.0.2.7' },
  },
  'api_key.created': { id: 'key_9', data: { scopes: [] } },
}
const path = '/v1/organization/audit_logs'

test('a change is one line: when, what, where, who, from where', async () => {
  const api = await served({ [`GET ${path}`]: list([entry]) })
  const { code, stdout } = await runOn(api, ['audit', 'list'])
  expect(code).toBe(0)
  expect(stdout).toContain('api_key.created  key_9  Web      ada@example.com  192.0.2.7')
})

test('its options are the filters of the API', async () => {
  const api = await served({ [`GET ${path}`]: list([]) })
  const words = ['--type', 'api_key.created,user.added', '--actor', 'key_2', '--email', 'a@b.c', '--resource', 'key_9']
  const more = ['--project', 'proj_1', '--since', '1h', '--limit', '7', '--after', 'audit_log-1']
  const { stdout } = await runOn(api, ['audit', 'list', ...words, ...more], { nowMs: 1_790_000_000_000 })
  expect(stdout).toBe('Nothing was changed.\n')
  expect(Object.fromEntries(api.asked.at(-1)?.query ?? [])).toEqual({
    event_types: 'api_key.created,user.added',
    actor_ids: 'key_2',
    actor_emails: 'a@b.c',
    resource_ids: 'key_9',
    project_ids: 'proj_1',
    'effective_at[gte]': String(1_790_000_000 - 3_600),
    limit: '7',
    after: 'audit_log-1',
  })
  expect((await runOn(api, ['audit', 'list', '--limit', '101'])).code).toBe(2)
})

test('--json is the page as the API gave it, and more pages are told of on stderr', async () => {
  const page = { ...list([entry]), has_more: true, last_id: 'audit_log-1' }
  const api = await served({ [`GET ${path}`]: page })
  expect(JSON.parse((await runOn(api, ['audit', 'list', '--json'])).stdout)).toEqual(page)
  expect((await runOn(api, ['audit', 'list'])).stderr).toContain('--after audit_log-1')
})

test('verify passes a whole log, and fails on a broken one with the number of the entry', async () => {
  const object = 'organization.audit_logs.verification'
  const whole = await served({ [`GET ${path}/verify`]: { object, entries: 12_345, whole: true, first_broken: null } })
  expect(await runOn(whole, ['audit', 'verify'])).toMatchObject({
    code: 0,
    stdout: 'Whole: 12,345 entries, each as it was written.\n',
  })
  const broken = await served({ [`GET ${path}/verify`]: { object, entries: 9, whole: false, first_broken: 4 } })
  const { code, stderr } = await runOn(broken, ['audit', 'verify'])
  expect([code, stderr]).toEqual([1, expect.stringContaining('is number 4')])
  const json = await runOn(broken, ['audit', 'verify', '--json'])
  expect([json.code, JSON.parse(json.stdout).first_broken]).toEqual([1, 4])
})

test('a head is one word to be noted, and a log without it fails, saying what that may mean', async () => {
  const head = `7:${'a'.repeat(64)}`
  const found = { entries: 9, whole: false, first_broken: null, head: `9:${'b'.repeat(64)}`, noted_head_found: false }
  const api = await served({
    [`GET ${path}/head`]: { object: 'organization.audit_logs.head', head },
    [`GET ${path}/verify`]: found,
  })
  expect(await runOn(api, ['audit', 'head'])).toMatchObject({ code: 0, stdout: `${head}\n` })
  const { code, stderr } = await runOn(api, ['audit', 'verify', '--head', head])
  expect(api.asked.at(-1)?.query.get('head')).toBe(head)
  expect([code, stderr]).toEqual([1, expect.stringContaining(`is not the one that ${head} was noted of`)])
})
