import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatUsd, nanoUsd, parseUsd } from './money.ts'
import { costOf, mostItCanCost } from './pricing.ts'

const amount = fc.bigInt({ min: 0n, max: 10n ** 17n }).map(nanoUsd)

test('an amount that is shown and read again is the same amount', () => {
  fc.assert(fc.property(amount, usd => parseUsd(formatUsd(usd)) === usd))
})

test('amounts are shown with at least two decimals and no exponent', () => {
  expect(formatUsd(nanoUsd(0n))).toBe('0.00')
  expect(formatUsd(nanoUsd(12_500_000_000n))).toBe('12.50')
  expect(formatUsd(nanoUsd(42n))).toBe('0.000000042')
  expect(formatUsd(nanoUsd(-1_500_000_000n))).toBe('-1.50')
})

test.each(['', '-1', '1e3', '1,5', '0.0000000001', 'NaN', '1.', '.5', '9999999999'])('%j is no amount', text => {
  expect(() => parseUsd(text)).toThrow(RangeError)
})

const price = {
  id: '1',
  inputNanoUsdPerMillion: nanoUsd(37_500_000n),
  cachedInputNanoUsdPerMillion: nanoUsd(3_750_000n),
  outputNanoUsdPerMillion: nanoUsd(150_000_000n),
}

test('a request is rounded once and upwards', () => {
  const usage = { inputTokens: 3, cachedInputTokens: 1, outputTokens: 1, reasoningTokens: 0 }
  // 2 × 37.5 + 1 × 3.75 + 1 × 150 = 228.75 nano-dollars
  expect(costOf(price, usage)).toBe(229n)
})

test('no call costs more than the most that it can cost', () => {
  const tokens = fc.nat(1_000_000)
  const million = fc.bigInt({ min: 0n, max: 10n ** 12n }).map(nanoUsd)
  fc.assert(
    fc.property(tokens, tokens, tokens, million, million, million, (input, cached, output, a, b, c) => {
      const some = { id: '1', inputNanoUsdPerMillion: a, cachedInputNanoUsdPerMillion: b, outputNanoUsdPerMillion: c }
      const usage = { inputTokens: input, cachedInputTokens: cached, outputTokens: output, reasoningTokens: 0 }
      return costOf(some, usage) <= mostItCanCost(some, { inputTokensMax: input, outputTokensMax: output })
    }),
  )
})
