import { expect, test } from 'vitest'
import { parseUsd } from './money.ts'
import { limitsOfTier, nextTier, tierFor, tierNames, usageTiers } from './usage-tiers.ts'

test.each([
  ['0', 'free'],
  ['4.99', 'free'],
  ['5', '1'],
  ['99.999999999', '2'],
  ['100', '3'],
  ['250', '4'],
  ['1000000', '5'],
])('who has paid $%s is in tier %s', (paid, tier) => {
  expect(tierFor({ paid: parseUsd(paid), sinceFirstPayment: 0 })).toBe(tier)
})

test('who has paid nothing is in the free tier', () => {
  expect(tierFor({ paid: parseUsd('0'), sinceFirstPayment: null })).toBe('free')
})

test('the first pattern that fits a model holds, and there is one for every model', () => {
  expect(limitsOfTier('free', 'text-embedding-3-small').requestsPerMinute).toBe(3_000)
  expect(limitsOfTier('1', 'gpt-4o').tokensPerMinute).toBe(30_000)
  expect(limitsOfTier('1', 'gpt-4o-mini').tokensPerMinute).toBe(500_000)
  expect(limitsOfTier('5', 'gpt-4o-mini').tokensPerMinute).toBe(150_000_000)
  for (const tier of tierNames) expect(limitsOfTier(tier, 'any').requestsPerMinute).toBeGreaterThan(0)
})

test('each tier asks for more than the one before, and the last has none behind it', () => {
  for (const tier of tierNames) {
    const next = nextTier(tier)
    if (next) expect(usageTiers[next].qualifies.paidUsd).toBeGreaterThan(usageTiers[tier].qualifies.paidUsd)
    else expect(tier).toBe('5')
  }
})
