import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Api, list, runOn, startApi } from '../testing.ts'

const grant = {
  object: 'organization.credit_grant',
  id: 'cg_1',
  organization_id: 'org-1',
  kind: 'purchased',
  status: 'active',
  amount_usd: '50.00',
  remaining_usd: '41.50',
  spent_usd: '8.50',
  ended_usd: '0.00',
  priority: 30,
  expires_at: null,
  revoked_at: null,
  reference: 'invoice-17',
  note: null,
  created_at: 1_790_000_000,
}

let api: Api
beforeEach(async () => {
  api = await startApi({
    'GET /v1/organization/credit_balance': {
      available_usd: '99.98',
      reserved_usd: '0.000000001',
      next_expiry: { amount_usd: '20.00', expires_at: 1_796_083_200 },
      currency: 'usd',
    },
    'POST /v1/organization/credit_grants': grant,
    'GET /v1/organization/credit_grants': list([grant]),
    'POST /v1/organization/credit_grants/cg_1/revoke': {
      ...grant,
      status: 'revoked',
      remaining_usd: '1.50',
      ended_usd: '40.00',
    },
  })
})
afterEach(() => api.close())

test('`keyhouse credits` shows what is left, to the last digit', async () => {
  const { stdout } = await runOn(api, ['credits'])
  expect(stdout).toMatch(
    /^Available {2}\$99\.98\nReserved {3}\$0\.000000001 .*\nEnds {7}\$20\.00 {2}at 2026-12-01 00:00 UTC/,
  )
})

test('credit is added by its own reference', async () => {
  const { stdout } = await runOn(api, ['credits', 'add', '50', '--reference', 'invoice-17'])
  expect(stdout).toBe('Added $50.00 (cg_1). Available: $99.98.\n')
  expect(JSON.parse(api.asked[0]?.body ?? '')).toEqual({ amount_usd: '50', reference: 'invoice-17' })
})

test('it is given to others, as what it is, and until when', async () => {
  const words = ['credits', 'add', '50', '--kind', 'promotional', '--expires', '90d', '--organization', 'org-1']
  const { stdout } = await runOn(api, words)
  expect(stdout).toBe('Added $50.00 (cg_1) to org-1.\n')
  const body = { amount_usd: '50', kind: 'promotional', expires_in_seconds: 7_776_000, organization_id: 'org-1' }
  expect(JSON.parse(api.asked[0]?.body ?? '')).toEqual(body)
})

test('the grants are listed, by status where asked', async () => {
  const { stdout } = await runOn(api, ['credits', 'list', '--status', 'active'])
  expect(stdout).toMatch(/^cg_1 +purchased +active +\$50\.00 +\$41\.50 +never .* invoice-17$/m)
  expect(api.asked[0]?.query.get('status')).toBe('active')
})

test('a grant is revoked, and what could not be taken yet is said', async () => {
  const { stdout } = await runOn(api, ['credits', 'revoke', 'cg_1'])
  expect(stdout).toBe(
    'Revoked cg_1: $40.00 taken back, $8.50 had been spent. $1.50 is reserved for calls in flight, and taken when they ' +
      'have ended.\n',
  )
})

test.each(['-5', '1e3', 'ten', '0.0000000001'])('%s is no amount', async amount => {
  const { code } = await runOn(api, ['credits', 'add', '--', amount])
  expect([code, api.asked]).toEqual([2, []])
})
