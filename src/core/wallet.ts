/**
 * A slice of an organization's credit that this node may spend without asking the database: the lease, seen from memory.
 *
 * granted = spent + held + available, always. Admission holds the most that a call can cost; settling turns the actual
 * cost into spent and frees the rest. Pure: the caller keeps the state and does the I/O.
 */
import { type NanoUsd, nanoUsd, zeroUsd } from './money.ts'

export type Wallet = {
  /** What the lease gave, less what was handed back. */
  granted: NanoUsd
  /** Settled on this lease, whether or not the database has heard of it yet. */
  spent: NanoUsd
  /** The most that the calls in flight can still cost. */
  held: NanoUsd
}

export const emptyWallet = (): Wallet => ({ granted: zeroUsd, spent: zeroUsd, held: zeroUsd })

export const available = (wallet: Wallet): NanoUsd => nanoUsd(wallet.granted - wallet.spent - wallet.held)

/** Holds `amount` if the slice covers it. */
export function hold(wallet: Wallet, amount: NanoUsd): boolean {
  if (available(wallet) < amount) return false
  wallet.held = nanoUsd(wallet.held + amount)
  return true
}

export function release(wallet: Wallet, held: NanoUsd): void {
  wallet.held = nanoUsd(wallet.held - held)
}

/** @throws RangeError when more is charged than was held: a bug, never a customer's problem. */
export function settle(wallet: Wallet, held: NanoUsd, charged: NanoUsd): void {
  if (charged < 0n || charged > held) throw new RangeError(`cannot settle ${charged} against a hold of ${held}`)
  wallet.held = nanoUsd(wallet.held - held)
  wallet.spent = nanoUsd(wallet.spent + charged)
}
