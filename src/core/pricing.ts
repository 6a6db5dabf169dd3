/**
 * What a call costs, and the most that it can cost. Integers from end to end: multiply first, round up once. Parts of the
 * input and of the output are taken apart so that no token is charged twice, whatever a provider says of them.
 */
import { type NanoUsd, nanoUsd } from './money.ts'
import { inputKinds, outputKinds, type Price, type RateKind, type Rates } from './price.ts'
import type { ServiceTier, Usage } from './usage.ts'

export type { Price } from './price.ts'

const million = 1_000_000n
/** Multipliers are hundredths of a percent. */
const whole = 10_000n
const denominator = million * whole

export function costOf(price: Price, usage: Usage): NanoUsd {
  const { rates } = bracketFor(bracketsOf(price), usage.inputTokens)
  const tokens = inputCost(rates, usage) + outputCost(rates, usage)
  return rounded(tokens * multiplier(price, usage.serviceTier ?? 'default') + callFees(price, usage) * denominator)
}

/** The most that a call can use; `serviceTier` is the one that was asked for: left out, as `auto`. */
export type CostBound = {
  readonly inputTokensMax: number
  readonly outputTokensMax: number
  readonly serviceTier?: RequestedTier | undefined
  readonly toolCallsMax?: number | undefined
}
export type RequestedTier = ServiceTier | 'auto'

/** The most that a call can cost: each token of the dearest kind, in the dearest bracket and service tier that it can get. */
export function mostItCanCost(price: Price, bound: CostBound): NanoUsd {
  const scale = dearestMultiplier(price, bound.serviceTier)
  let most = 0n
  for (const bracket of reachable(price, bound)) {
    const tokens = worstInput(bracket, bound) + BigInt(bound.outputTokensMax) * bracket.outputMost
    if (tokens > most) most = tokens
  }
  return rounded(most * scale + worstFees(price, bound))
}

/** The largest output, within the bound, with which `mostItCanCost` is within `amount`; 0 when the input alone is not. */
export function outputCovered(price: Price, bound: CostBound, amount: NanoUsd): number {
  const scale = dearestMultiplier(price, bound.serviceTier)
  const left = amount * denominator - worstFees(price, bound)
  let covered = BigInt(bound.outputTokensMax)
  for (const bracket of reachable(price, bound)) {
    const forOutput = left - worstInput(bracket, bound) * scale
    if (forOutput < 0n) return 0
    const each = bracket.outputMost * scale
    if (each > 0n && forOutput / each < covered) covered = forOutput / each
  }
  return Number(covered)
}

const rounded = (numerator: bigint): NanoUsd => nanoUsd((numerator + denominator - 1n) / denominator)

// Brackets: the rates by length of the input ------------------------------------------------------------------------------

type Bracket = {
  readonly aboveInputTokens: number
  /** The next bracket begins above it. */
  readonly upToInputTokens: number
  readonly rates: Rates
  readonly inputMost: bigint
  readonly outputMost: bigint
}

const known = new WeakMap<Price, readonly Bracket[]>()

function bracketsOf(price: Price): readonly Bracket[] {
  const found = known.get(price)
  if (found) return found
  const brackets = computeBrackets(price)
  known.set(price, brackets)
  return brackets
}

function computeBrackets(price: Price): Bracket[] {
  const base = {
    input: price.inputNanoUsdPerMillion,
    cachedInput: price.cachedInputNanoUsdPerMillion,
    output: price.outputNanoUsdPerMillion,
    ...price.details?.rates,
  }
  const tiers = [{ aboveInputTokens: 0, rates: {} }, ...(price.details?.tiers ?? [])]
  return tiers.map(({ aboveInputTokens, rates }, index) => {
    const resolved = resolve({ ...base, ...rates })
    return {
      aboveInputTokens,
      upToInputTokens: tiers[index + 1]?.aboveInputTokens ?? Number.POSITIVE_INFINITY,
      rates: resolved,
      inputMost: dearest(resolved, inputKinds),
      outputMost: dearest(resolved, outputKinds),
    }
  })
}

type GivenRates = Partial<Rates> & Pick<Rates, 'input' | 'cachedInput' | 'output'>

/** What has no rate of its own is charged as what it is a kind of. */
function resolve(given: GivenRates): Rates {
  const { input, cachedInput, output, cacheWrite = input, audioInput, imageInput } = given
  return {
    input,
    cachedInput,
    cacheWrite,
    cacheWrite1h: given.cacheWrite1h ?? cacheWrite,
    audioInput: audioInput ?? input,
    cachedAudioInput: given.cachedAudioInput ?? audioInput ?? cachedInput,
    imageInput: imageInput ?? input,
    cachedImageInput: given.cachedImageInput ?? imageInput ?? cachedInput,
    output,
    reasoning: given.reasoning ?? output,
    audioOutput: given.audioOutput ?? output,
    imageOutput: given.imageOutput ?? output,
  }
}

const dearest = (rates: Rates, kinds: readonly RateKind[]): bigint => largest(kinds.map(kind => rates[kind]))

const largest = (amounts: readonly bigint[]): bigint =>
  amounts.reduce((most: bigint, amount: bigint) => (amount > most ? amount : most), 0n)

/** A call is charged by one bracket as a whole. */
function bracketFor(brackets: readonly Bracket[], inputTokens: number): Bracket {
  const found = brackets.findLast(({ aboveInputTokens }) => inputTokens > aboveInputTokens) ?? brackets[0]
  if (!found) throw new Error('a price has at least the bracket that begins with nothing')
  return found
}

function reachable(price: Price, { inputTokensMax }: CostBound): readonly Bracket[] {
  const brackets = bracketsOf(price)
  if (brackets.length === 1) return brackets
  return brackets.filter(({ aboveInputTokens }) => aboveInputTokens === 0 || aboveInputTokens < inputTokensMax)
}

const worstInput = ({ upToInputTokens, inputMost }: Bracket, { inputTokensMax }: CostBound): bigint =>
  BigInt(Math.min(upToInputTokens, inputTokensMax)) * inputMost

// The parts of input and output ----------------------------------------------------------------------------------------------

/** Takes `wanted` out of what is left, or as much as there is. */
const take = (wanted: number | undefined, left: number): number => Math.min(wanted ?? 0, left)

/** Where it is not said what the cached tokens were, they were text as far as there was any. */
function inputCost(rates: Rates, usage: Usage): bigint {
  const image = take(usage.imageInputTokens, usage.inputTokens)
  const audio = take(usage.audioInputTokens, usage.inputTokens - image)
  const text = usage.inputTokens - image - audio
  const cached = take(usage.cachedInputTokens, usage.inputTokens)
  const saidImage = take(usage.cachedImageInputTokens, Math.min(image, cached))
  const saidAudio = take(usage.cachedAudioInputTokens, Math.min(audio, cached - saidImage))
  const cachedText = take(cached - saidImage - saidAudio, text)
  const cachedAudio = saidAudio + take(cached - saidImage - saidAudio - cachedText, audio - saidAudio)
  const cachedImage = cached - cachedText - cachedAudio
  const written = take(usage.cacheWriteTokens, text - cachedText)
  const writtenForAnHour = take(usage.cacheWrite1hTokens, written)
  return (
    BigInt(text - cachedText - written) * rates.input +
    BigInt(cachedText) * rates.cachedInput +
    BigInt(written - writtenForAnHour) * rates.cacheWrite +
    BigInt(writtenForAnHour) * rates.cacheWrite1h +
    BigInt(audio - cachedAudio) * rates.audioInput +
    BigInt(cachedAudio) * rates.cachedAudioInput +
    BigInt(image - cachedImage) * rates.imageInput +
    BigInt(cachedImage) * rates.cachedImageInput
  )
}

function outputCost(rates: Rates, usage: Usage): bigint {
  const image = take(usage.imageOutputTokens, usage.outputTokens)
  const audio = take(usage.audioOutputTokens, usage.outputTokens - image)
  const reasoning = take(usage.reasoningTokens, usage.outputTokens - image - audio)
  return (
    BigInt(usage.outputTokens - image - audio - reasoning) * rates.output +
    BigInt(reasoning) * rates.reasoning +
    BigInt(audio) * rates.audioOutput +
    BigInt(image) * rates.imageOutput
  )
}

// Service tiers, and what is charged by the call --------------------------------------------------------------------------

const multiplier = (price: Price, tier: ServiceTier): bigint => price.details?.serviceTiers?.[tier] ?? whole

/**
 * In which tiers a request may be served. What a provider cannot serve as asked it serves in the default tier; `auto` is
 * what the project at the provider is set to, which we cannot see.
 */
const servedAs: Readonly<Record<RequestedTier, readonly ServiceTier[]>> = {
  auto: ['default', 'flex', 'priority'],
  default: ['default'],
  flex: ['flex', 'default'],
  priority: ['priority', 'default'],
  batch: ['batch'],
}

function dearestMultiplier(price: Price, requested: RequestedTier = 'auto'): bigint {
  if (!price.details?.serviceTiers) return whole
  return largest(servedAs[requested].map(tier => multiplier(price, tier)))
}

function callFees(price: Price, { webSearchCalls = 0, fileSearchCalls = 0, codeInterpreterCalls = 0 }: Usage): bigint {
  const calls = price.details?.calls
  if (!calls) return 0n
  return (
    BigInt(webSearchCalls) * (calls.webSearch ?? 0n) +
    BigInt(fileSearchCalls) * (calls.fileSearch ?? 0n) +
    BigInt(codeInterpreterCalls) * (calls.codeInterpreter ?? 0n) +
    (calls.request ?? 0n)
  )
}

function worstFees(price: Price, { toolCallsMax = 0 }: CostBound): bigint {
  const { webSearch = 0n, fileSearch = 0n, codeInterpreter = 0n, request = 0n } = price.details?.calls ?? {}
  const dearestCall = largest([webSearch, fileSearch, codeInterpreter])
  return (BigInt(toolCallsMax) * dearestCall + request) * denominator
}
