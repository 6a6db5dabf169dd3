import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nanoUsd } from './money.ts'
import { available, emptyWallet, hold, release, settle } from './wallet.ts'

test('spent and held never exceed what was granted, whatever the order', () => {
  const step = fc.record({
    kind: fc.constantFrom('hold', 'settle', 'release'),
    amount: fc.bigInt({ min: 1n, max: 50n }),
    share: fc.nat(100),
  })
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 300n }), fc.array(step), (granted, steps) => {
      const wallet = { ...emptyWallet(), granted: nanoUsd(granted) }
      const held: bigint[] = []
      for (const { kind, amount, share } of steps) {
        if (kind === 'hold') {
          if (hold(wallet, nanoUsd(amount))) held.push(amount)
          continue
        }
        const first = held.shift()
        if (first === undefined) continue
        if (kind === 'settle') settle(wallet, nanoUsd(first), nanoUsd((first * BigInt(share)) / 100n))
        else release(wallet, nanoUsd(first))
      }
      expect(available(wallet)).toBeGreaterThanOrEqual(0n)
      expect(wallet.held).toBe(held.reduce((sum, amount) => sum + amount, 0n))
    }),
  )
})

test('nothing is settled beyond its hold', () => {
  const wallet = { ...emptyWallet(), granted: nanoUsd(100n) }
  hold(wallet, nanoUsd(10n))
  expect(() => settle(wallet, nanoUsd(10n), nanoUsd(11n))).toThrow(RangeError)
})
