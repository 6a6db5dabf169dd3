/**
 * What tokens cost. A price is a dated row of integer nano-dollars per million tokens; a usage record names the row it
 * was charged with, so that any bill can be computed again.
 */
import { largerUsd, type NanoUsd, nanoUsd } from './money.ts'

export type Price = {
  readonly id: string
  readonly inputNanoUsdPerMillion: NanoUsd
  /** Input tokens that the provider had in its cache; they are part of the input tokens. */
  readonly cachedInputNanoUsdPerMillion: NanoUsd
  readonly outputNanoUsdPerMillion: NanoUsd
}

/** Tokens of one call, as the provider counted them. `cached` is part of `input`, `reasoning` is part of `output`. */
export type TokenUsage = {
  readonly inputTokens: number
  readonly cachedInputTokens: number
  readonly outputTokens: number
  readonly reasoningTokens: number
}

const million = 1_000_000n

export function costOf(price: Price, usage: TokenUsage): NanoUsd {
  const cached = Math.min(usage.cachedInputTokens, usage.inputTokens)
  const numerator =
    BigInt(usage.inputTokens - cached) * price.inputNanoUsdPerMillion +
    BigInt(cached) * price.cachedInputNanoUsdPerMillion +
    BigInt(usage.outputTokens) * price.outputNanoUsdPerMillion
  return nanoUsd((numerator + million - 1n) / million)
}

/**
 * The most that a call can cost: no cache discount counts, and where a provider asks more for cached input than for
 * fresh, the dearer of the two.
 */
export function mostItCanCost(price: Price, bound: { inputTokensMax: number; outputTokensMax: number }): NanoUsd {
  const input = largerUsd(price.inputNanoUsdPerMillion, price.cachedInputNanoUsdPerMillion)
  const numerator = BigInt(bound.inputTokensMax) * input + BigInt(bound.outputTokensMax) * price.outputNanoUsdPerMillion
  return nanoUsd((numerator + million - 1n) / million)
}
