import { afterEach, expect, test } from 'vitest'
import { type Api, runOn, startApi } from '../testing.ts'

const apis: Api[] = []
afterEach(async () => {
  for (const api of apis.splice(0)) await api.close()
})

async function served(verification: object): Promise<Api> {
  const api = await startApi({ 'POST /v1/platform/ledger/verification': verification })
  apis.push(api)
  return api
}

const object = 'platform.ledger_verification'
const finding = {
  rule: 'grants',
  subject: 'org-1',
  expected_usd: '10.00',
  found_usd: '9.000000001',
  found_at: 1_790_000_000,
  seen_at: 1_790_000_000,
}

test('money that adds up is a sentence, and success', async () => {
  const api = await served({ object, adds_up: true, findings: [] })
  expect(await runOn(api, ['ledger', 'verify'])).toMatchObject({ code: 0, stdout: 'Everything adds up.\n' })
  await runOn(api, ['ledger', 'verify', '--full'])
  expect(api.asked.filter(({ method }) => method === 'POST').map(({ body }) => JSON.parse(body))).toEqual([
    { full: false },
    { full: true },
  ])
})

test('what does not add up is shown to the last digit, and fails, with --json as well', async () => {
  const api = await served({ object, adds_up: false, findings: [finding] })
  const { code, stdout, stderr } = await runOn(api, ['ledger', 'verify'])
  expect(stdout).toContain('grants  org-1    $10.00  $9.000000001  2026-09-21 14:13')
  expect([code, stderr]).toEqual([1, expect.stringContaining('1 things do not add up')])
  const json = await runOn(api, ['ledger', 'verify', '--json'])
  expect([json.code, JSON.parse(json.stdout).findings]).toEqual([1, [finding]])
})
