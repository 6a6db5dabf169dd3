// Prices as the operator manages them: bundled, dated, with a margin; and every charge computed again from its row.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { nanoUsd } from '#core/money.ts'
import { priceAt } from '#core/price.ts'
import { costOf } from '#core/pricing.ts'
import { type Usage, usageColumns } from '#core/usage.ts'
import { knownPrices } from '#platform/known-prices.ts'
import { readCatalogue } from '#storage/catalogue.ts'
import { type Database, sql } from '#storage/database.ts'
import { currentPrices, insertPrices, toDatedPrice } from '#storage/prices.ts'
import { uuidv7 } from '#storage/uuid.ts'
import { type TestPlatform, testPlatform } from './support/platform.ts'

let platform: TestPlatform

beforeAll(async () => {
  platform = await testPlatform()
})
afterAll(() => platform?.stop())

const ask = (method: string, path: string, body?: unknown) =>
  platform.send(platform.first.adminKey, method, `/v1/platform${path}`, body)

/** A provider that the bundled table knows by its name; nobody is asked for anything. */
async function addProvider(name: string, ...models: object[]): Promise<void> {
  const { status, text } = await ask('POST', '/providers', { name, base_url: 'http://127.0.0.1:9/v1', models })
  expect(status, text).toBe(200)
}

async function pricesOf(model: string) {
  const { json } = await ask('GET', '/prices?limit=100')
  return json.data.filter((price: { model: string }) => price.model === model)
}

const usd = (dollars: number) => nanoUsd(BigInt(Math.round(dollars * 1e9)))

describe('the bundled table', () => {
  const now = new Date('2026-11-21T12:00:00Z')
  const lookUp = async (name: string, model: string) =>
    (await knownPrices({ name, baseUrl: 'http://127.0.0.1:9/v1' }, now))(model)

  test('has cache writes, long contexts, tools, and the service tiers that we add', async () => {
    expect(await lookUp('openai', 'gpt-6-sol')).toEqual([
      {
        input: usd(2),
        cachedInput: usd(0.2),
        output: usd(10),
        startsAt: undefined,
        details: {
          rates: { cacheWrite: usd(2.5) },
          calls: { webSearch: usd(0.01), fileSearch: usd(0.0025) },
          tiers: [
            {
              aboveInputTokens: 272_000,
              rates: { input: usd(4), cachedInput: usd(0.4), cacheWrite: usd(5), output: usd(15) },
            },
          ],
          serviceTiers: { flex: 5_000n, batch: 5_000n, priority: 20_000n },
        },
      },
    ])
  })

  test('has an hour of cache, audio and images', async () => {
    expect((await lookUp('anthropic', 'claude-opus-5-5'))?.[0]?.details?.rates).toEqual({
      cacheWrite: usd(5),
      cacheWrite1h: usd(8),
    })
    expect((await lookUp('openai', 'gpt-realtime'))?.[0]?.details?.rates).toEqual({
      audioInput: usd(32),
      cachedAudioInput: usd(0.4),
      audioOutput: usd(64),
      imageInput: usd(5),
      cachedImageInput: usd(0.5),
    })
    expect((await lookUp('perplexity', 'sonar'))?.[0]?.details).toEqual({ calls: { request: usd(0.012) } })
  })

  test('has prices that begin later, and hours that are dearer', async () => {
    expect(await lookUp('google', 'gemini-3.8-flash')).toMatchObject([
      { input: usd(0.75), startsAt: undefined },
      { input: usd(1.5), startsAt: new Date('2027-01-01') },
    ])
    expect(await lookUp('deepseek', 'deepseek-v4-pro')).toMatchObject([
      { input: usd(0.66), cachedInput: usd(0.022) },
      { input: usd(1.32), hours: { from: '01:00:00', to: '04:00:00' } },
      { input: usd(1.32), hours: { from: '06:00:00', to: '10:00:00' } },
    ])
  })

  test('knows nothing of what is not sold by tokens, or by nobody', async () => {
    expect(await lookUp('openai', 'whisper-1')).toBeUndefined()
    expect(await lookUp('openai', 'our-own')).toBeUndefined()
    expect(await lookUp('nobody', 'gpt-6-sol')).toBeUndefined()
  })
})

describe('a price', () => {
  test('brings all that the table knows, and the gateway charges by the hour', async () => {
    await addProvider('deepseek', { name: 'deepseek-v4-pro' })
    const rows = await pricesOf('deepseek-v4-pro')
    expect(rows.map(({ hours }: { hours: unknown }) => hours)).toEqual([
      null,
      { from: '01:00:00', to: '04:00:00' },
      { from: '06:00:00', to: '10:00:00' },
    ])
    const { models } = await readCatalogue(platform.database, platform.secrets, () => undefined)
    const { prices = [] } = models.get('deepseek-v4-pro') ?? {}
    const inputAt = (time: string) => priceAt(prices, Date.parse(`2030-01-05T${time}Z`))?.inputNanoUsdPerMillion
    expect([inputAt('00:59'), inputAt('01:00'), inputAt('05:00'), inputAt('09:59')].map(String)).toEqual(
      [0.66, 1.32, 0.66, 1.32].map(dollars => String(usd(dollars))),
    )
  })

  test('set by the operator has every kind of rate, exactly as it was written', async () => {
    await addProvider('own', { name: 'own-model', input_usd_per_million: '1', output_usd_per_million: '1' })
    const price = {
      input_usd_per_million: '1.00',
      cached_input_usd_per_million: '0.10',
      output_usd_per_million: '4.00',
      rates: { cache_write: '1.25', cache_write_1h: '2.00', reasoning: '3.00', audio_input: '0.000000001' },
      calls: { web_search: '0.01', request: '0.001' },
      units: { image: '0.04' },
      long_context: [
        { above_input_tokens: 1_000, rates: { input: '2.00' } },
        { above_input_tokens: 2_000, rates: { input: '3.00', output: '9.00' } },
      ],
      service_tier_percents: { flex: '50', priority: '166.67' },
    }
    const { status, json } = await ask('POST', '/models/own-model/price', price)
    expect(status).toBe(200)
    expect(json.price).toMatchObject({ ...price, source: 'operator', margin_percent: '0' })
    expect(await pricesOf('own-model')).toMatchObject([price])
  })

  test.each([
    ['a rate that nobody knows', { rates: { smell: '1' } }, 'rates'],
    ['falling thresholds', { long_context: [2, 1].map(n => ({ above_input_tokens: n, rates: {} })) }, 'long_context'],
    ['a float of a percentage', { service_tier_percents: { flex: '33.333' } }, 'flex'],
    ['a moment that has passed', { effective_from: 1_700_000_000 }, 'effective_from'],
  ])('with %s is refused', async (_what, more, named) => {
    const { status, text } = await ask('POST', '/models/own-model/price', {
      input_usd_per_million: '1',
      output_usd_per_million: '1',
      ...more,
    })
    expect(status).toBe(400)
    expect(text).toContain(named)
  })

  test('that says nothing is refused, and so is half of one', async () => {
    expect((await ask('POST', '/models/own-model/price', {})).status).toBe(400)
    const half = await ask('POST', '/models/own-model/price', { input_usd_per_million: '1' })
    expect(half.json.error).toMatchObject({ param: 'output_usd_per_million' })
  })

  test('from a later day on leaves the present one, and yields to what is said after it', async () => {
    const tomorrow = Math.floor(Date.now() / 1000) + 86_400
    const later = { input_usd_per_million: '7', output_usd_per_million: '7', effective_from: tomorrow }
    const { json } = await ask('POST', '/models/own-model/price', later)
    expect(json.price.input_usd_per_million).toBe('1.00')
    const inputsAt = async (atMs: number) => {
      const prices = (await currentPrices(platform.database, 'own-model')).map(toDatedPrice)
      return priceAt(prices, atMs)?.inputNanoUsdPerMillion
    }
    expect(await inputsAt(Date.now())).toBe(usd(1))
    expect(await inputsAt((tomorrow + 1) * 1000)).toBe(usd(7))
    await ask('POST', '/models/own-model/price', { input_usd_per_million: '2', output_usd_per_million: '2' })
    expect(await inputsAt((tomorrow + 1) * 1000)).toBe(usd(2))
  })

  test('that cannot be read is not guessed at', async () => {
    await insertPrices(
      platform.database,
      'broken',
      [{ input: usd(1), cachedInput: usd(1), output: usd(1) }],
      'operator',
    )
    await platform.database.query(
      sql(`insert into prices (model, source, set_number, input_nano_usd_per_million, cached_input_nano_usd_per_million,
             output_nano_usd_per_million, details) values ('broken', 'operator', 9, 1, 1, 1, '{"rates":{"smell":"1"}}')`),
    )
    const [row] = await currentPrices(platform.database, 'broken')
    expect(() => row && toDatedPrice(row)).toThrow(/price \d+ of broken cannot be read[\s\S]*smell/)
  })

  test('is never changed', async () => {
    await expect(platform.database.query(sql('update prices set details = null'))).rejects.toThrow('append only')
  })
})

describe('an update from the table', () => {
  const differences = async () => (await ask('GET', '/prices/diff')).json.data
  const inputOf = async (model: string): Promise<string> => (await pricesOf(model))[0]?.input_usd_per_million

  test('shows what it would change, changes it where it may, and nothing that was there', async () => {
    await addProvider('openai', { name: 'gpt-5' }, { name: 'gpt-4.1' }, { name: 'gpt-4o' })
    await insertPrices(
      platform.database,
      'gpt-5',
      [{ input: usd(2.5), cachedInput: usd(0.125), output: usd(10) }],
      'genai-prices',
    )
    await ask('POST', '/models/gpt-4.1/price', { input_usd_per_million: '9', output_usd_per_million: '9' })
    const found = await differences()
    expect(found).toMatchObject([
      { model: 'gpt-4.1', provider: 'openai', source: 'operator', kept: true },
      { model: 'gpt-5', provider: 'openai', source: 'genai-prices', kept: false },
    ])
    expect(found[1].changes).toContainEqual({ rate: 'input', now: '2.50', known: '1.25', percent: -50 })
    expect(found[1].changes).toContainEqual({ rate: 'percent priority', now: null, known: '200', percent: null })
    const before = await platform.database.query(sql('select * from prices order by id'))
    const { json } = await ask('POST', '/prices/update', {})
    expect(json.data).toMatchObject([{ model: 'gpt-5', input_usd_per_million: '1.25', source: 'genai-prices' }])
    const after = await platform.database.query(sql('select * from prices order by id'))
    expect(after.slice(0, before.length)).toEqual(before)
    expect(after).toHaveLength(before.length + 1)
    expect((await differences()).map(({ model }: { model: string }) => model)).toEqual(['gpt-4.1'])
  })

  test("leaves the operator's own price alone unless it is named", async () => {
    expect((await ask('POST', '/prices/update', { models: ['gpt-4.1'] })).json.data).toEqual([])
    expect(await inputOf('gpt-4.1')).toBe('9.00')
    expect((await ask('POST', '/prices/update', { overwrite: ['gpt-4.1'] })).json.data).toHaveLength(1)
    expect(await inputOf('gpt-4.1')).toBe('2.00')
    expect(await differences()).toEqual([])
    expect((await ask('POST', '/prices/update', { models: ['nothing'] })).status).toBe(404)
  })

  test('puts the margin on top: of the installation, or of the model', async () => {
    expect((await ask('POST', '/price_margin', { percent: '12.5' })).json.percent).toBe('12.5')
    expect(await inputOf('gpt-5')).toBe('1.25')
    const { json } = await ask('POST', '/models/gpt-4o/price', { margin_percent: '33.33' })
    expect(json.price).toMatchObject({
      input_usd_per_million: '3.33325',
      margin_percent: '33.33',
      source: 'genai-prices',
    })
    await ask('POST', '/prices/update', {})
    expect((await pricesOf('gpt-5'))[0]).toMatchObject({
      input_usd_per_million: '1.40625',
      cached_input_usd_per_million: '0.140625',
      calls: { web_search: '0.01125' },
      service_tier_percents: { priority: '200' },
      margin_percent: '12.5',
    })
    expect(await differences()).toEqual([])
    await addProvider('openai', { name: 'gpt-5' }, { name: 'gpt-4.1' }, { name: 'gpt-4o' }, { name: 'o3' })
    expect(await inputOf('o3')).toBe('2.25')
    await ask('POST', '/models/gpt-4o/price', { margin_percent: null })
    expect(await inputOf('gpt-4o')).toBe('2.8125')
    await ask('POST', '/price_margin', { percent: '0' })
    await ask('POST', '/prices/update', {})
    expect(await inputOf('gpt-4o')).toBe('2.50')
  })

  test('has no margin to put on what nobody knows', async () => {
    const { status, text } = await ask('POST', '/models/own-model/price', { margin_percent: '5' })
    expect(status).toBe(400)
    expect(text).toContain('is not known')
  })
})

describe('recomputing', () => {
  const recompute = async (query = '') => {
    const { json } = await ask('GET', `/usage_recompute?${query}`)
    return json
  }
  const day = Date.parse('2026-11-01T10:00:00Z')
  const ids: string[] = []

  /** As settle_usage writes it: part of the cost may have been borne by the platform. */
  async function insertCharged(
    database: Database,
    usage: Usage,
    { model, overrun = 0n }: { model: string; overrun?: bigint },
  ) {
    const rows = (await currentPrices(database, model)).filter(row => row.in_force)
    const row = rows[ids.length % rows.length]
    const price = row && toDatedPrice(row)
    const cost = price ? costOf(price, usage) : 0n
    const at = day + ids.length * 1000
    const id = uuidv7(at)
    ids.push(id)
    const columns = usageColumns(usage)
    await database.query(
      sql(`insert into usage_events (id, occurred_at, request_id, organization_id, project_id, api_key_id, endpoint, model,
             provider, upstream_model, outcome, estimated, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens,
             price_id, charged_nano_usd, overrun_nano_usd, duration_ms, ${Object.keys(columns).join(', ')})
           values ($1, $2, 'req', 'org', 'proj', 'key', 'chat.completions', $3, 'p', $3, 'complete', false, $4, $5, $6, $7, $8,
             $9, $10, 5, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)`),
      [
        id,
        new Date(at),
        model,
        usage.inputTokens,
        usage.cachedInputTokens,
        usage.outputTokens,
        usage.reasoningTokens,
        price?.id ?? null,
        cost - overrun,
        overrun,
        ...Object.values(columns),
      ],
    )
    return cost
  }

  const used = (input: number, output: number, more: Partial<Usage> = {}): Usage => ({
    inputTokens: input,
    cachedInputTokens: 0,
    outputTokens: output,
    reasoningTokens: 0,
    ...more,
  })

  /** The platform of these tests has calls of its own, on other days. */
  const thatDay = `start_time=${day / 1000}&end_time=${day / 1000 + 86_400}`

  test('gives every charge again, to the nano-dollar', async () => {
    await addProvider('mixed', {
      name: 'mixed-model',
      input_usd_per_million: '0.333',
      cached_input_usd_per_million: '0.0333',
      output_usd_per_million: '0.777',
    })
    await addProvider('openai', { name: 'gpt-realtime' }, { name: 'gpt-6-sol' })
    const { database } = platform
    let total = 0n
    for (const model of ['mixed-model', 'gpt-realtime', 'gpt-6-sol', 'deepseek-v4-pro', 'free-model']) {
      for (const usage of [
        used(7, 3),
        used(1_001, 17, { cachedInputTokens: 999, reasoningTokens: 5, serviceTier: 'flex' }),
        used(300_001, 17, { cacheWriteTokens: 100_000, cacheWrite1hTokens: 10, serviceTier: 'priority' }),
        used(900, 300, {
          cachedInputTokens: 500,
          audioInputTokens: 600,
          cachedAudioInputTokens: 100,
          imageInputTokens: 100,
          cachedImageInputTokens: 3,
          audioOutputTokens: 200,
          imageOutputTokens: 50,
        }),
        used(1, 1, { webSearchCalls: 3, fileSearchCalls: 2, codeInterpreterCalls: 1, serviceTier: 'batch' }),
      ]) {
        total += await insertCharged(database, usage, { model, overrun: total % 2n === 0n ? 0n : 1n })
      }
    }
    // A dearer price from now on changes nothing of the past
    await ask('POST', '/models/mixed-model/price', { input_usd_per_million: '99', output_usd_per_million: '99' })
    const answer = await recompute(thatDay)
    expect(answer).toMatchObject({ count: 25, difference_count: 0, differences: [], next: null })
    expect(answer.charged_usd).toBe(answer.recomputed_usd)
    expect(BigInt(Math.round(Number(answer.charged_usd) * 1e9))).toBe(total)
    expect(total).toBeGreaterThan(1_000_000_000n)
  })

  test('of a span looks at that span alone', async () => {
    const start = day / 1000
    expect((await recompute(`start_time=${start + 5}&end_time=${start + 10}`)).count).toBe(5)
    expect((await recompute(`${thatDay}&after=${ids[19]}`)).count).toBe(5)
    expect((await recompute(`start_time=${start - 5}&end_time=${start}`)).count).toBe(0)
  })

  test('shows a record that was changed behind our back', async () => {
    const { database } = platform
    const changed = sql('update usage_events set charged_nano_usd = charged_nano_usd + 1 where id = $1')
    await database.query(changed, [ids[6]])
    await database.query(sql('update usage_events set service_tier = null where id = $1'), [ids[12]])
    await database.query(sql('update usage_events set price_id = 999999 where id = $1'), [ids[2]])
    const answer = await recompute()
    expect(answer.difference_count).toBe(3)
    expect(answer.differences).toMatchObject([
      { id: ids[2], price_id: '999999', recomputed_usd: null },
      { id: ids[6], model: 'gpt-realtime' },
      { id: ids[12], model: 'gpt-6-sol' },
    ])
    const { charged_usd, recomputed_usd } = answer.differences[1]
    expect(Math.round((Number(charged_usd) - Number(recomputed_usd)) * 1e9)).toBe(1)
  })

  test('of more than fits one answer goes on where it stopped, without a row left out or twice', async () => {
    const extra = 45_000
    await platform.database.query(
      sql(`insert into usage_events (id, occurred_at, request_id, organization_id, project_id, api_key_id, endpoint, model,
             provider, upstream_model, outcome, estimated, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens,
             charged_nano_usd, overrun_nano_usd, duration_ms)
           select gen_random_uuid(), '2026-11-02T00:00:00Z'::timestamptz + n * interval '1 second', 'req', 'org', 'proj', 'key',
             'e', 'm', 'p', 'm', 'complete', false, 1, 0, 1, 0, 0, 0, 1 from generate_series(1, $1) n`),
      [extra],
    )
    const counts: number[] = []
    for (let after = ''; ; ) {
      const answer = await recompute(`start_time=${Date.parse('2026-11-02') / 1000}${after}`)
      counts.push(answer.count)
      if (answer.next === null) break
      after = `&after=${answer.next}`
    }
    expect(counts).toEqual([20_000, 20_000, 5_000])
  })
})
