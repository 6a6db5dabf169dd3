import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type NanoUsd, nanoUsd } from './money.ts'
import {
  callKinds,
  type DatedPrice,
  inputKinds,
  type LongContextTier,
  outputKinds,
  type PriceDetails,
  priceAt,
  type RateKind,
} from './price.ts'
import { type CostBound, costOf, mostItCanCost, outputCovered, type Price } from './pricing.ts'
import { type ServiceTier, serviceTiers, type Usage, usageColumns, usageFromColumns } from './usage.ts'

const usd = (dollars: number): NanoUsd => nanoUsd(BigInt(Math.round(dollars * 1e9)))

const priced = (input: number, cached: number, output: number, details?: PriceDetails): Price => ({
  id: '1',
  inputNanoUsdPerMillion: usd(input),
  cachedInputNanoUsdPerMillion: usd(cached),
  outputNanoUsdPerMillion: usd(output),
  details,
})
const used = (input: number, output: number, more: Partial<Usage> = {}): Usage => ({
  inputTokens: input,
  cachedInputTokens: 0,
  outputTokens: output,
  reasoningTokens: 0,
  ...more,
})

// A published price list, and what calls cost by hand with it
const longContext = priced(2, 0.2, 10, {
  rates: { cacheWrite: usd(2.5) },
  calls: { webSearch: usd(0.01), fileSearch: usd(0.0025) },
  tiers: [
    {
      aboveInputTokens: 272_000,
      rates: { input: usd(4), cachedInput: usd(0.4), cacheWrite: usd(5), output: usd(15) },
    },
  ],
  serviceTiers: { flex: 5_000n, batch: 5_000n, priority: 20_000n },
})

describe('by hand', () => {
  const cases: readonly [string, Price, Usage, number][] = [
    ['plain text', longContext, used(1_000, 100), 0.003],
    ['a cached part', longContext, used(1_000, 0, { cachedInputTokens: 400 }), 0.00128],
    [
      'a cached and a written part',
      longContext,
      used(1_000, 0, { cachedInputTokens: 400, cacheWriteTokens: 500 }),
      0.00153,
    ],
    ['at the threshold', longContext, used(272_000, 0), 0.544],
    ['above it, all of the call is dearer', longContext, used(272_001, 1_000), 1.103004],
    ['flex is half of the tokens', longContext, used(1_000, 100, { serviceTier: 'flex', webSearchCalls: 2 }), 0.0215],
    ['priority is twice the tokens', longContext, used(1_000, 100, { serviceTier: 'priority' }), 0.006],
    ['searches', longContext, used(0, 0, { webSearchCalls: 1, fileSearchCalls: 3, codeInterpreterCalls: 9 }), 0.0175],
    ['a fee for each request', priced(1, 1, 1, { calls: { request: usd(0.012) } }), used(0, 0), 0.012],
    ['more cached than there is', longContext, used(100, 0, { cachedInputTokens: 5_000 }), 0.00002],
    ['reasoning is part of the output', longContext, used(0, 100, { reasoningTokens: 90 }), 0.001],
    [
      'reasoning of its own rate',
      priced(2, 2, 8, { rates: { reasoning: usd(3) } }),
      used(0, 100, { reasoningTokens: 60 }),
      0.0005,
    ],
    [
      'audio in and out, some of it cached',
      priced(4, 0.4, 16, { rates: { audioInput: usd(32), cachedAudioInput: usd(0.4), audioOutput: usd(64) } }),
      used(1_000, 100, {
        audioInputTokens: 600,
        cachedInputTokens: 300,
        cachedAudioInputTokens: 200,
        audioOutputTokens: 50,
      }),
      0.01812,
    ],
    [
      'images of a chat model without a rate for them',
      longContext,
      used(1_000, 0, { imageInputTokens: 800, cachedInputTokens: 900 }),
      0.00038,
    ],
    [
      'an hour of cache',
      priced(3, 0.3, 15, { rates: { cacheWrite: usd(3.75), cacheWrite1h: usd(6) } }),
      used(1_000, 0, { cacheWriteTokens: 1_000, cacheWrite1hTokens: 400 }),
      0.00465,
    ],
  ]

  test.each(cases)('%s', (_what, price, usage, dollars) => {
    expect(costOf(price, usage)).toBe(usd(dollars))
  })

  test('one token of a cheap model is rounded up once, not to nothing', () => {
    expect(costOf(priced(0.05, 0.005, 0.4), used(1, 0, { cachedInputTokens: 1, serviceTier: 'flex' }))).toBe(5n)
    expect(costOf(priced(0.0000001, 0, 0), used(1, 0))).toBe(1n)
    expect(costOf(priced(0, 0, 0), used(9, 9))).toBe(0n)
  })
})

// Random prices and usage ---------------------------------------------------------------------------------------------------

const tokens = fc.oneof(fc.nat(40), fc.nat(2_000_000))
const rate = fc.oneof(fc.bigInt(0n, 20n), fc.bigInt(0n, 900_000_000_000n)).map(nanoUsd)
const kinds = [...inputKinds, ...outputKinds]
const some = <Key extends string, Value>(keys: readonly Key[], value: fc.Arbitrary<Value>) =>
  fc.record(Object.fromEntries(keys.map(key => [key, value])) as Record<Key, fc.Arbitrary<Value>>, { requiredKeys: [] })

const tiers: fc.Arbitrary<LongContextTier[]> = fc
  .uniqueArray(fc.integer({ min: 1, max: 1_000_000 }), { maxLength: 3 })
  .chain(starts =>
    fc.tuple(
      ...starts
        .sort((a, b) => a - b)
        .map(aboveInputTokens =>
          fc.record({ aboveInputTokens: fc.constant(aboveInputTokens), rates: some(kinds, rate) }),
        ),
    ),
  )

const prices: fc.Arbitrary<Price> = fc.record({
  id: fc.constant('1'),
  inputNanoUsdPerMillion: rate,
  cachedInputNanoUsdPerMillion: rate,
  outputNanoUsdPerMillion: rate,
  details: fc.option(
    fc.record({
      rates: some(
        kinds.filter(kind => !['input', 'cachedInput', 'output'].includes(kind)),
        rate,
      ),
      calls: some(callKinds, fc.bigInt(0n, 50_000_000n).map(nanoUsd)),
      tiers,
      serviceTiers: some(
        serviceTiers.filter(tier => tier !== 'default'),
        fc.bigInt(0n, 40_000n),
      ),
    }),
    { nil: undefined },
  ),
})

const optionalTokens = fc.option(tokens, { nil: undefined })
const usages: fc.Arbitrary<Usage> = fc.record({
  inputTokens: tokens,
  cachedInputTokens: tokens,
  outputTokens: tokens,
  reasoningTokens: tokens,
  cacheWriteTokens: optionalTokens,
  cacheWrite1hTokens: optionalTokens,
  audioInputTokens: optionalTokens,
  cachedAudioInputTokens: optionalTokens,
  imageInputTokens: optionalTokens,
  cachedImageInputTokens: optionalTokens,
  audioOutputTokens: optionalTokens,
  imageOutputTokens: optionalTokens,
  webSearchCalls: fc.option(fc.nat(5), { nil: undefined }),
  fileSearchCalls: fc.option(fc.nat(5), { nil: undefined }),
  codeInterpreterCalls: fc.option(fc.nat(5), { nil: undefined }),
  serviceTier: fc.option(fc.constantFrom(...serviceTiers), { nil: undefined }),
})

/** Slow and plain: a bag of tokens, from which each kind takes its own; exact fractions, rounded at the very end. */
function oracle(price: Price, usage: Usage): bigint {
  const { details = {} } = price
  let rates: Partial<Record<RateKind, bigint>> = {
    ...details.rates,
    input: price.inputNanoUsdPerMillion,
    cachedInput: price.cachedInputNanoUsdPerMillion,
    output: price.outputNanoUsdPerMillion,
  }
  for (const tier of details.tiers ?? []) {
    if (usage.inputTokens > tier.aboveInputTokens) rates = { ...withoutTier(price), ...tier.rates }
  }
  const rateOf = (...wanted: RateKind[]): bigint =>
    wanted.map(kind => rates[kind]).find(found => found !== undefined) ?? -1n
  const bag = { text: 0, image: 0, audio: 0 }
  bag.image = Math.min(usage.imageInputTokens ?? 0, usage.inputTokens)
  bag.audio = Math.min(usage.audioInputTokens ?? 0, usage.inputTokens - bag.image)
  bag.text = usage.inputTokens - bag.image - bag.audio
  let cachedLeft = Math.min(usage.cachedInputTokens, usage.inputTokens)
  const parts: [bigint, number][] = []
  const move = (from: keyof typeof bag, wanted: number, ...as: RateKind[]): number => {
    const moved = Math.min(bag[from], wanted)
    bag[from] -= moved
    parts.push([rateOf(...as), moved])
    return moved
  }
  const cached = {
    image: ['cachedImageInput', 'imageInput', 'cachedInput'],
    audio: ['cachedAudioInput', 'audioInput', 'cachedInput'],
    text: ['cachedInput'],
  } as const
  cachedLeft -= move('image', Math.min(usage.cachedImageInputTokens ?? 0, cachedLeft), ...cached.image)
  cachedLeft -= move('audio', Math.min(usage.cachedAudioInputTokens ?? 0, cachedLeft), ...cached.audio)
  cachedLeft -= move('text', cachedLeft, ...cached.text)
  cachedLeft -= move('audio', cachedLeft, ...cached.audio)
  cachedLeft -= move('image', cachedLeft, ...cached.image)
  const hour = Math.min(usage.cacheWrite1hTokens ?? 0, usage.cacheWriteTokens ?? 0)
  const writable = Math.min(usage.cacheWriteTokens ?? 0, bag.text)
  move('text', Math.min(hour, writable), 'cacheWrite1h', 'cacheWrite', 'input')
  move('text', writable - Math.min(hour, writable), 'cacheWrite', 'input')
  move('text', bag.text, 'input')
  move('audio', bag.audio, 'audioInput', 'input')
  move('image', bag.image, 'imageInput', 'input')
  let left = usage.outputTokens
  for (const [count, kind] of [
    [usage.imageOutputTokens, 'imageOutput'],
    [usage.audioOutputTokens, 'audioOutput'],
    [usage.reasoningTokens, 'reasoning'],
    [left, 'output'],
  ] as const) {
    const taken = Math.min(count ?? 0, left)
    left -= taken
    parts.push([rateOf(kind, 'output'), taken])
  }
  const scale = details.serviceTiers?.[usage.serviceTier ?? 'default'] ?? 10_000n
  const nano = parts.reduce((sum, [each, count]) => sum + each * BigInt(count), 0n)
  const { webSearch = 0n, fileSearch = 0n, codeInterpreter = 0n, request = 0n } = details.calls ?? {}
  const fees =
    webSearch * BigInt(usage.webSearchCalls ?? 0) +
    fileSearch * BigInt(usage.fileSearchCalls ?? 0) +
    codeInterpreter * BigInt(usage.codeInterpreterCalls ?? 0) +
    request
  const [numerator, denominator] = [nano * scale + fees * 10n ** 10n, 10n ** 10n]
  return numerator % denominator === 0n ? numerator / denominator : numerator / denominator + 1n
}

const withoutTier = (price: Price): Partial<Record<RateKind, bigint>> => ({
  ...price.details?.rates,
  input: price.inputNanoUsdPerMillion,
  cachedInput: price.cachedInputNanoUsdPerMillion,
  output: price.outputNanoUsdPerMillion,
})

const runs = { numRuns: 2_000 }

describe('for any price and any usage', () => {
  test('the cost is what a slow count of fractions says', () => {
    fc.assert(
      fc.property(prices, usages, (price, usage) => {
        expect(costOf(price, usage)).toBe(oracle(price, usage))
      }),
      runs,
    )
  })

  test('nothing costs more than the most that it can cost, in any tier that may serve it', () => {
    const mayServe: Record<NonNullable<CostBound['serviceTier']>, ServiceTier[]> = {
      auto: ['default', 'flex', 'priority'],
      default: ['default'],
      flex: ['flex', 'default'],
      priority: ['priority', 'default'],
      batch: ['batch'],
    }
    const requested = fc.constantFrom(...(Object.keys(mayServe) as (keyof typeof mayServe)[]))
    fc.assert(
      fc.property(prices, usages, requested, fc.nat(1_000), fc.nat(1_000), (price, usage, tier, moreIn, moreOut) => {
        const { webSearchCalls = 0, fileSearchCalls = 0, codeInterpreterCalls = 0 } = usage
        const bound = {
          inputTokensMax: usage.inputTokens + moreIn,
          outputTokensMax: usage.outputTokens + moreOut,
          serviceTier: tier,
          toolCallsMax: webSearchCalls + fileSearchCalls + codeInterpreterCalls,
        }
        for (const serviceTier of mayServe[tier]) {
          expect(costOf(price, { ...usage, serviceTier })).toBeLessThanOrEqual(mostItCanCost(price, bound))
        }
      }),
      runs,
    )
  })

  test('the bound is reached: it holds no more than some call can cost', () => {
    const reach = fc.property(prices, fc.nat(400), fc.nat(400), (price, inputTokensMax, outputTokensMax) => {
      const bound = { inputTokensMax, outputTokensMax, serviceTier: 'default' } as const
      // The dearest call is all of one kind of input and one of output, and as long as a bracket lets it be
      const lengths = [inputTokensMax, ...(price.details?.tiers ?? []).map(tier => tier.aboveInputTokens)]
      const costs = lengths
        .filter(length => length <= inputTokensMax)
        .flatMap(length => extremes(length, outputTokensMax).map(usage => costOf(price, usage)))
      expect(costs.toSorted((a, b) => (a < b ? -1 : 1)).at(-1)).toBe(mostItCanCost(price, bound))
    })
    fc.assert(reach, { numRuns: 500 })
  })

  test('the output that an amount covers is the largest whose most fits, to the token', () => {
    const amount = fc.oneof(fc.bigInt(0n, 1_000n), fc.bigInt(0n, 10n ** 13n)).map(nanoUsd)
    const bounds = fc.record({
      inputTokensMax: tokens,
      outputTokensMax: tokens,
      serviceTier: fc.constantFrom(undefined, 'auto', 'default', 'flex', 'priority', 'batch'),
      toolCallsMax: fc.nat(3),
    })
    fc.assert(
      fc.property(prices, bounds, amount, (price, bound, amount) => {
        const covered = outputCovered(price, bound, amount)
        const most = (outputTokensMax: number) => mostItCanCost(price, { ...bound, outputTokensMax })
        expect(covered).toBeLessThanOrEqual(bound.outputTokensMax)
        if (covered > 0) expect(most(covered)).toBeLessThanOrEqual(amount)
        else if (bound.outputTokensMax > 0) expect(most(1)).toBeGreaterThan(amount)
        if (covered < bound.outputTokensMax) expect(most(covered + 1)).toBeGreaterThan(amount)
      }),
      runs,
    )
  })

  test('its row in usage_events gives the same usage back', () => {
    fc.assert(
      fc.property(prices, usages, (price, usage) => {
        const row = {
          ...usageColumns(usage),
          input_tokens: usage.inputTokens,
          cached_input_tokens: usage.cachedInputTokens,
          output_tokens: usage.outputTokens,
          reasoning_tokens: usage.reasoningTokens,
        }
        expect(costOf(price, usageFromColumns(JSON.parse(JSON.stringify(row))))).toBe(costOf(price, usage))
      }),
      runs,
    )
  })
})

/** All tokens of one kind, for each kind. */
function extremes(input: number, output: number): Usage[] {
  const inputs: Partial<Usage>[] = [
    {},
    { cachedInputTokens: input },
    { cacheWriteTokens: input },
    { cacheWriteTokens: input, cacheWrite1hTokens: input },
    { audioInputTokens: input },
    { audioInputTokens: input, cachedInputTokens: input, cachedAudioInputTokens: input },
    { imageInputTokens: input },
    { imageInputTokens: input, cachedInputTokens: input, cachedImageInputTokens: input },
  ]
  const outputs: Partial<Usage>[] = [
    {},
    { reasoningTokens: output },
    { audioOutputTokens: output },
    { imageOutputTokens: output },
  ]
  return inputs.flatMap(ins => outputs.map(outs => used(input, output, { ...ins, ...outs })))
}

describe('the row in force', () => {
  const at = (time: string): number => Date.parse(`2026-11-${time}Z`)
  const row = (id: string, startsAtMs: number, daily?: DatedPrice['daily']): DatedPrice => ({
    ...priced(1, 1, 1),
    id,
    startsAtMs,
    daily,
  })
  const hour = 3_600
  const rows = [
    row('next', at('25T00:00')),
    row('peak', 0, { fromSecond: hour, toSecond: 4 * hour }),
    row('night', 0, { fromSecond: 22 * hour, toSecond: hour }),
    row('all day', 0),
  ]

  test.each([
    ['24T00:59', 'night'],
    ['24T01:00', 'peak'],
    ['24T03:59', 'peak'],
    ['24T04:00', 'all day'],
    ['24T21:59', 'all day'],
    ['24T22:00', 'night'],
    ['25T00:00', 'next'],
    ['26T02:00', 'next'],
  ])('at %s is %s', (time, id) => {
    expect(priceAt(rows, at(time))?.id).toBe(id)
  })

  test('there is none before the first begins', () => {
    expect(priceAt([row('next', at('25T00:00'))], at('24T00:00'))).toBeNull()
  })
})
