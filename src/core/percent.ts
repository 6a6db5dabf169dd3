/** Percentages as integers: hundredths of a percent (basis points), so that no float touches money. */

/** @throws RangeError for anything but plain text such as '50' or '12.5', with at most two decimals */
export function parsePercent(text: string): bigint {
  const match = /^(\d{1,5})(?:\.(\d{1,2}))?$/.exec(text)
  if (!match) throw new RangeError(`'${text}' is not a percentage such as 12.5 (at most two decimals)`)
  return BigInt(match[1] ?? '0') * 100n + BigInt((match[2] ?? '').padEnd(2, '0'))
}

/** Exact text without trailing zeros: 50, 12.5, 166.67. */
export const formatPercent = (basisPoints: bigint): string =>
  `${basisPoints / 100n}.${(basisPoints % 100n).toString().padStart(2, '0')}`.replace(/\.?0+$/, '')
