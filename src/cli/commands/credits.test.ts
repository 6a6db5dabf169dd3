import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Api, runOn, startApi } from '../testing.ts'

let api: Api
beforeEach(async () => {
  api = await startApi({
    'GET /v1/organization/credit_balance': { available_usd: '99.98', reserved_usd: '0.000000001', currency: 'usd' },
    'POST /v1/organization/credit_grants': { id: 'grant_1', amount_usd: '50.00', created_at: 1_790_000_000 },
  })
})
afterEach(() => api.close())

test('`keyhouse credits` shows what is left, to the last digit', async () => {
  const { stdout } = await runOn(api, ['credits'])
  expect(stdout).toMatch(/^Available {2}\$99\.98\nReserved {3}\$0\.000000001 /)
})

test('credit is added by its own reference', async () => {
  const { stdout } = await runOn(api, ['credits', 'add', '50', '--reference', 'invoice-17'])
  expect(stdout).toBe('Added $50.00 (grant_1). Available: $99.98.\n')
  expect(JSON.parse(api.asked[0]?.body ?? '')).toEqual({ amount_usd: '50', reference: 'invoice-17' })
})

test.each(['-5', '1e3', 'ten', '0.0000000001'])('%s is no amount', async amount => {
  const { code } = await runOn(api, ['credits', 'add', '--', amount])
  expect([code, api.asked]).toEqual([2, []])
})
