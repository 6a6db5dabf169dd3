import { expect, test } from 'vitest'
import { ago, bytes, duration, parseDuration, readUsd, usd, usdAligned } from './amounts.ts'

test.each([
  [0, '$0.00'],
  [12.5, '$12.50'],
  [1e-7, '$0.0000001'],
  [0.000000001, '$0.000000001'],
  ['123456789.000000001', '$123456789.000000001'],
  ['-3.5', '-$3.50'],
])('%s dollars are shown as %s, never in scientific notation', (wire, shown) => {
  expect(usd(readUsd(wire))).toBe(shown)
})

test('the decimal points of a column stand under each other', () => {
  const amounts = [12.5, 0.0000421, 0].map(readUsd)
  expect(amounts.map(usdAligned(amounts))).toEqual(['$12.5000000', '$0.0000421', '$0.0000000'])
})

test('what is no amount is refused, not shown as NaN', () => {
  expect(() => readUsd('1e-7')).toThrow("sent '1e-7'")
})

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [158_781_799, '159 MB'],
  [1_500, '1.5 kB'],
  [4.7e12, '4.7 TB'],
])('%d bytes are %s', (value, shown) => {
  expect(bytes(value)).toBe(shown)
})

test('spans are told in their largest unit', () => {
  expect([5, 61, 7_300, 200_000].map(duration)).toEqual(['5 s', '1 min', '2 h', '2 d'])
  expect([ago(1_000, 1_060_000), ago(null, 0), ago(0, -5_000)]).toEqual(['1 min ago', 'never', '0 s ago'])
})

test.each([
  ['30d', 2_592_000],
  ['12h', 43_200],
  ['90m', 5_400],
  ['45s', 45],
  ['2w', 1_209_600],
])('%s is %d seconds', (text, seconds) => {
  expect(parseDuration(text)).toBe(seconds)
})

test.each(['30', '0d', 'd', '-1d', '1.5h', '30 d', ''])("'%s' is no duration", text => {
  expect(() => parseDuration(text)).toThrow('30d, 12h or 90m')
})
