import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Api, type Asked, list, runOn, startApi } from '../testing.ts'

const price = {
  object: 'platform.price',
  id: '1',
  model: 'gpt-6-sol',
  input_usd_per_million: '2.00',
  cached_input_usd_per_million: '0.20',
  output_usd_per_million: '10.00',
  rates: { cache_write: '2.50' },
  long_context: [{ above_input_tokens: 272_000, rates: { input: '4.00' } }],
  service_tier_percents: { flex: '50' },
  effective_from: 1_790_000_000,
  hours: { from: '01:00:00', to: '04:00:00' },
  margin_percent: '12.5',
  source: 'genai-prices',
}
const differences = [
  {
    object: 'platform.price_difference',
    model: 'gpt-5',
    provider: 'openai',
    source: 'genai-prices',
    margin_percent: '0',
    kept: false,
    changes: [
      { rate: 'input', now: '2.50', known: '1.25', percent: -50 },
      { rate: 'percent priority', now: null, known: '200', percent: null },
    ],
  },
  {
    object: 'platform.price_difference',
    model: 'mine',
    provider: 'openai',
    source: 'operator',
    margin_percent: '0',
    kept: true,
    changes: [{ rate: 'output', now: '1.00', known: '1.50', percent: 50 }],
  },
]
const stretch = (more: object) => ({
  object: 'platform.usage_recompute',
  count: 2,
  charged_usd: '0.50',
  recomputed_usd: '0.50',
  difference_count: 0,
  differences: [],
  next: null,
  ...more,
})

let api: Api
let last: object
beforeEach(async () => {
  last = stretch({ charged_usd: '0.000000001', recomputed_usd: '0.000000001' })
  api = await startApi({
    'GET /v1/platform/prices': list([price]),
    'GET /v1/platform/prices/diff': { object: 'list', data: differences },
    'POST /v1/platform/prices/update': { object: 'list', data: [price] },
    'GET /v1/platform/price_margin': { object: 'platform.price_margin', percent: '5' },
    'POST /v1/platform/price_margin': { object: 'platform.price_margin', percent: '7.5' },
    'POST /v1/platform/models/m%2F1/price': { name: 'm/1', price },
    'GET /v1/platform/usage_recompute': ({ query }: Asked) => (query.has('after') ? last : stretch({ next: 'x' })),
  })
})
afterEach(() => api.close())

const posted = () => JSON.parse(api.asked.findLast(({ method }) => method === 'POST')?.body ?? 'null')

describe('prices list', () => {
  test('shows what each model costs, at which hours, with how much on top', async () => {
    const { code, stdout } = await runOn(api, ['prices', 'list'])
    expect(code).toBe(0)
    const [, row = ''] = stdout.split('\n')
    expect(row.split(/ {2,}/)).toEqual([
      'gpt-6-sol',
      '$2.00',
      '$0.20',
      '$10.00',
      'cache_write 2.50, dearer above 272000, flex 50 %',
      '2026-09-21 14:13',
      '01:00:00-04:00:00',
      '12.5 %',
      'genai-prices',
    ])
  })

  test('--json is what the API gave', async () => {
    expect(JSON.parse((await runOn(api, ['prices', 'list', '--json'])).stdout).data).toEqual([price])
  })
})

describe('prices diff and update', () => {
  test('show old, new and by how much', async () => {
    const { stdout } = await runOn(api, ['prices', 'diff'])
    expect(stdout.split('\n').map(line => line.split(/ {2,}/))).toMatchObject([
      ['MODEL', 'WHAT', 'NOW', 'KNOWN', 'CHANGE'],
      ['gpt-5', 'input', '2.50', '1.25', '-50 %', '-'],
      ['gpt-5', 'percent priority', '-', '200', '-', '-'],
      ['mine', 'output', '1.00', '1.50', '+50 %', 'your own price'],
      [''],
    ])
    expect(JSON.parse((await runOn(api, ['prices', 'diff', '--json'])).stdout).data).toEqual(differences)
  })

  test('an update asks, and a script has to say yes', async () => {
    const { code, stderr } = await runOn(api, ['prices', 'update'])
    expect(code).toBe(2)
    expect(stderr).toContain('--yes')
    expect(posted()).toBeNull()
    await runOn(api, ['prices', 'update', '--yes', '--model', 'a', 'b', '--overwrite', 'c'])
    expect(posted()).toEqual({ models: ['a', 'b'], overwrite: ['c'] })
  })
})

describe('prices set', () => {
  test('sends every part as it was typed', async () => {
    const { code, stderr } = await runOn(api, [
      ...['prices', 'set', 'm/1', '--input', '$2', '--cached-input', '0.2', '--output', '10'],
      ...['--cache-write-1h', '4', '--web-search', '0.01', '--priority', '166.67%', '--margin', '12.5'],
      ...['--above', '272000:input=4,cached-input=0.4', '--above', '500000:output=20', '--from', '2027-01-01'],
    ])
    expect([code, stderr]).toEqual([0, ''])
    expect(posted()).toEqual({
      input_usd_per_million: '2',
      cached_input_usd_per_million: '0.2',
      output_usd_per_million: '10',
      rates: { cache_write_1h: '4' },
      calls: { web_search: '0.01' },
      service_tier_percents: { priority: '166.67' },
      long_context: [
        { above_input_tokens: 272_000, rates: { input: '4', cached_input: '0.4' } },
        { above_input_tokens: 500_000, rates: { output: '20' } },
      ],
      margin_percent: '12.5',
      effective_from: 1_798_761_600,
    })
  })

  test('a margin alone is on the known price, and none is that of the installation', async () => {
    await runOn(api, ['prices', 'set', 'm/1', '--margin', '30'])
    expect(posted()).toEqual({ margin_percent: '30' })
    await runOn(api, ['prices', 'set', 'm/1', '--margin', 'none'])
    expect(posted()).toEqual({ margin_percent: null })
  })

  test.each([
    ['nothing at all', []],
    ['half a price', ['--input', '1']],
    ['details without a price', ['--flex', '50']],
    ['a threshold without rates', ['--input', '1', '--output', '1', '--above', '272000']],
    ['a rate that nobody knows', ['--input', '1', '--output', '1', '--above', '1:smell=4']],
    ['no percentage', ['--input', '1', '--output', '1', '--flex', 'half']],
    ['no date', ['--input', '1', '--output', '1', '--from', 'tomorrow']],
  ])('%s is refused before anything is sent', async (_what, words) => {
    expect((await runOn(api, ['prices', 'set', 'm/1', ...words])).code).toBe(2)
    expect(posted()).toBeNull()
  })
})

test('prices margin shows it, or sets it', async () => {
  expect((await runOn(api, ['prices', 'margin'])).stdout).toBe('5 % on top of known prices.\n')
  expect((await runOn(api, ['prices', 'margin', '7.5%'])).stdout).toContain('keyhouse prices update')
  expect(posted()).toEqual({ percent: '7.5' })
})

describe('usage recompute', () => {
  test('goes to the end of its last day', async () => {
    await runOn(api, ['usage', 'recompute', '--from', '2026-11-27', '--to', '2026-11-27', '--json'])
    const { query } = api.asked.find(({ path }) => path.endsWith('usage_recompute')) ?? {}
    expect([query?.get('start_time'), query?.get('end_time')]).toEqual(['1795737600', '1795824000'])
    expect((await runOn(api, ['usage', 'recompute', '--to', 'tomorrow'])).code).toBe(2)
  })

  test('adds all stretches up', async () => {
    const { code, stdout } = await runOn(api, ['usage', 'recompute', '--from', '2026-11-01'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^4 charges: \$0\.500000001 charged, \$0\.500000001 recomputed\.\nAll are/)
    expect(api.asked.map(({ query }) => query.get('after'))).toEqual([null, 'x'])
    expect(api.asked[0]?.query.get('start_time')).toBe('1793491200')
  })

  test('ends badly when a charge is not what its price says', async () => {
    const difference = { id: 'u1', occurred_at: '2026-11-01T10:00:00.000Z', model: 'm', price_id: '7' }
    const differing = [{ ...difference, charged_usd: '0.02', recomputed_usd: '0.01' }]
    last = stretch({ difference_count: 1, differences: differing })
    const { code, stdout, stderr } = await runOn(api, ['usage', 'recompute'])
    expect(code).toBe(1)
    expect(stdout).toMatch(/u1 +2026-11-01 10:00:00 +m +7 +\$0\.02 +\$0\.01/)
    expect(stderr).toContain('1 charges are not')
    const json = await runOn(api, ['usage', 'recompute', '--json'])
    expect(json.code).toBe(1)
    expect(JSON.parse(json.stdout)).toMatchObject({
      count: 4,
      charged_usd: '1.00',
      difference_count: 1,
      differences: differing,
    })
  })
})
