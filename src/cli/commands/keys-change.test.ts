import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Api, list, projectKey, runOn, startApi } from '../testing.ts'

const key = { id: 'key_1', name: 'laptop', expires_at: null, scopes: [], value: projectKey, status: 'active' }
const path = '/v1/organization/projects/proj_a/api_keys/key_1'
const admin = '/v1/organization/admin_api_keys/key_9'
const account = { id: 'svc_acct_1', name: 'ci', role: 'member', created_at: 1_790_000_000 }
const accounts = '/v1/organization/projects/proj_a/service_accounts'
const accountKey = { id: 'key_2', name: 'Secret Key', value: projectKey }
const policy = {
  object: 'organization.key_policy',
  allowed_cidrs: ['10.0.0.0/8'],
  allowed_origins: [],
  key_lifetime_seconds_max: 7_776_000,
  service_accounts_only: false,
}

let api: Api
beforeEach(async () => {
  api = await startApi({
    'GET /v1/organization/projects': list([{ id: 'proj_a', name: 'A', status: 'active' }]),
    'GET /v1/organization/projects/proj_a': { id: 'proj_a', name: 'A', status: 'active' },
    [`GET ${path}`]: key,
    [`POST ${path}`]: key,
    [`POST ${path}/rotate`]: {
      ...key,
      replaced: { id: 'key_1', expires_at: 1_790_086_400, last_used_at: 1_789_999_940 },
    },
    [`POST ${path}/backup`]: key,
    [`POST ${path}/disable`]: { ...key, status: 'disabled' },
    [`POST ${path}/enable`]: key,
    'POST /v1/organization/projects/proj_a/api_keys': key,
    [`GET ${admin}`]: { ...key, id: 'key_9' },
    [`POST ${admin}/disable`]: { ...key, id: 'key_9' },
    [`POST ${admin}/enable`]: { ...key, id: 'key_9' },
    [`GET ${accounts}`]: list([account]),
    [`POST ${accounts}`]: { ...account, api_key: accountKey },
    [`POST ${accounts}/svc_acct_1`]: { ...account, role: 'owner' },
    [`POST ${accounts}/svc_acct_1/api_keys`]: accountKey,
    [`DELETE ${accounts}/svc_acct_1`]: { id: 'svc_acct_1', deleted: true },
    'GET /v1/organization/key_policy': policy,
    'POST /v1/organization/key_policy': policy,
    'POST /v1/organization/projects/proj_a/key_policy': policy,
  })
})
afterEach(() => api.close())

const run = (line: string) => runOn(api, line.split(' '), { nowMs: 1_790_000_000_000 })
const sent = () => {
  const { method, path, body } = api.asked.at(-1) ?? { method: '', path: '', body: 'null' }
  return [method, path, JSON.parse(body || 'null')]
}

describe('what is sent', () => {
  test.each([
    ['keys update key_1 --name x', path, { name: 'x' }],
    ['keys update key_1 --all', path, { permissions: 'all' }],
    ['keys update key_1 --read-only --expires 30d', path, { scopes: ['api.all.read'], expires_in_seconds: 2_592_000 }],
    [
      'keys update key_1 --cidr 10.0.0.0/8 --cidr ::1,127.0.0.1 --origin none --rotate-every 90d',
      path,
      { allowed_cidrs: ['10.0.0.0/8', '::1', '127.0.0.1'], allowed_origins: [], rotate_every_days: 90 },
    ],
    ['keys update key_1 --model m --model e,f', path, { allowed_models: ['m', 'e', 'f'] }],
    ['keys update key_1 --model none', path, { allowed_models: [] }],
    ['keys update key_1 --rotate-every never --project proj_a', path, { rotate_every_days: null }],
    ['keys rotate key_1', `${path}/rotate`, {}],
    ['keys rotate key_1 --grace 0', `${path}/rotate`, { grace_seconds: 0 }],
    [
      'keys rotate key_1 --grace 2d --expires 90d',
      `${path}/rotate`,
      { grace_seconds: 172_800, expires_in_seconds: 7_776_000 },
    ],
    ['keys backup key_1', `${path}/backup`, {}],
    ['keys disable key_1', `${path}/disable`, {}],
    ['keys enable key_1', `${path}/enable`, {}],
    ['keys disable key_9', `${admin}/disable`, {}],
    ['keys enable key_9', `${admin}/enable`, {}],
    ['service-accounts create ci', accounts, { name: 'ci' }],
    ['service-accounts create ci --no-key', accounts, { name: 'ci', create_service_account_only: true }],
    ['service-accounts create ci --expires 1h --project proj_a', accounts, { name: 'ci', expires_in_seconds: 3_600 }],
    ['service-accounts update svc_acct_1 --role owner', `${accounts}/svc_acct_1`, { role: 'owner' }],
    [
      'service-accounts create-key svc_acct_1 --scopes model.request',
      `${accounts}/svc_acct_1/api_keys`,
      { scopes: ['model.request'] },
    ],
    ['key-policy set --lifetime-max 90d', '/v1/organization/key_policy', { key_lifetime_seconds_max: 7_776_000 }],
    [
      'key-policy set --project proj_a --lifetime-max forever --service-accounts-only on --cidr none',
      '/v1/organization/projects/proj_a/key_policy',
      { key_lifetime_seconds_max: null, service_accounts_only: true, allowed_cidrs: [] },
    ],
  ])('%s', async (line, to, body) => {
    const { code, stderr } = await run(line)
    expect([code, stderr, ...sent()]).toEqual([0, '', 'POST', to, body])
  })

  test('keys create takes the same options', async () => {
    await run('keys create --name x --restricted --scopes model.request --cidr ::1 --backup-of key_1 --json')
    expect(sent()).toEqual([
      'POST',
      '/v1/organization/projects/proj_a/api_keys',
      { name: 'x', permissions: 'restricted', scopes: ['model.request'], allowed_cidrs: ['::1'], backup_of: 'key_1' },
    ])
  })
})

describe('what is said', () => {
  test('rotate tells of both keys, and shows the new one once', async () => {
    const { stdout } = await run('keys rotate key_1')
    expect(stdout).toContain('Rotated key_1, which was last used 1 min ago and works until 2026-09-22 14:13 UTC.')
    expect(stdout.split(projectKey)).toHaveLength(2)
  })

  test('service accounts are listed, shown with their key, deleted', async () => {
    expect((await run('service-accounts create ci')).stdout).toContain(projectKey)
    expect((await run('service-accounts list')).stdout).toMatch(/svc_acct_1 +ci +member +2026-09-21/)
    expect((await run('service-accounts delete svc_acct_1')).stdout).toContain('Deleted svc_acct_1.')
  })

  test('the policy in sentences', async () => {
    expect((await run('key-policy show')).stdout.split('\n')).toEqual([
      'Keys may be used from 10.0.0.0/8.',
      'Web pages that may use them: all.',
      'New keys may live for 90 d.',
      'New keys are for people and service accounts.',
      '',
    ])
  })

  test.each(['keys rotate key_1', 'service-accounts list', 'key-policy show', 'keys disable key_1'])(
    '%s --json is one document',
    async line => {
      expect(JSON.parse((await run(`${line} --json`)).stdout)).toBeTypeOf('object')
    },
  )
})

test.each([
  ['keys update key_1', 'Nothing to change'],
  ['keys update key_1 --all --read-only', 'either --all'],
  ['keys update key_1 --restricted', '--restricted goes with --scopes'],
  ['keys create --read-only --scopes model.request', 'either --scopes or --read-only'],
  ['keys create --env-name X', 'go with --env'],
  ['keys create --admin --cidr ::1', '--admin goes with'],
  ['keys update key_1 --rotate-every 12h', 'whole days'],
  ['keys rotate key_1 --grace soon', 'is not a duration'],
  ['key-policy set', 'Nothing to change'],
  ['service-accounts update svc_acct_1', 'Nothing to change'],
  ['key-policy set --service-accounts-only yes', 'takes on or off'],
])('%s is a mistake that nothing is sent for', async (line, message) => {
  const { code, stderr } = await run(line)
  expect([code, stderr]).toEqual([2, expect.stringContaining(message)])
  expect(api.asked.filter(({ method }) => method === 'POST')).toEqual([])
})
