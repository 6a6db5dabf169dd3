/**
 * What is limited: one row a dimension, which the gateway, the storage, the control plane, the texts and the headers read.
 *
 * No endpoint makes images, hears audio or queues batches yet: those dimensions are kept, shown and counted like the others,
 * and cost nothing until an endpoint states how much of them it asks for.
 */
import type { LimitDimension } from '#contract/rate-limits.ts'

const minuteMs = 60_000
const dayMs = 86_400_000
/** The period of what is limited at one time, and not in one. */
export const atOnce = 0

/** What one call asks for. */
export type Use = {
  readonly requests: 1
  readonly slots: 1
  readonly tokens: number
  readonly images: number
  readonly audioMegabytes: number
  readonly batchTokens: number
}

type DimensionRow = {
  /** As OpenAI's refusals say it. */
  readonly unit: string
  readonly periodMs: number
  /** Which `x-ratelimit-*` headers tell of it. */
  readonly header: 'requests' | 'tokens' | null
  /** What a call costs in it. */
  readonly cost: keyof Use
  /** The error's `type`. */
  readonly errorType: 'requests' | 'tokens' | 'images' | 'audio'
  /** Its name in the Administration API. */
  readonly member: LimitDimension
}

export const dimensions = {
  requestsPerMinute: {
    unit: 'requests per min (RPM)',
    periodMs: minuteMs,
    header: 'requests',
    cost: 'requests',
    errorType: 'requests',
    member: 'max_requests_per_1_minute',
  },
  requestsPerDay: {
    unit: 'requests per day (RPD)',
    periodMs: dayMs,
    header: 'requests',
    cost: 'requests',
    errorType: 'requests',
    member: 'max_requests_per_1_day',
  },
  tokensPerMinute: {
    unit: 'tokens per min (TPM)',
    periodMs: minuteMs,
    header: 'tokens',
    cost: 'tokens',
    errorType: 'tokens',
    member: 'max_tokens_per_1_minute',
  },
  tokensPerDay: {
    unit: 'tokens per day (TPD)',
    periodMs: dayMs,
    header: 'tokens',
    cost: 'tokens',
    errorType: 'tokens',
    member: 'max_tokens_per_1_day',
  },
  concurrentRequests: {
    unit: 'concurrent requests',
    periodMs: atOnce,
    header: null,
    cost: 'slots',
    errorType: 'requests',
    member: 'max_concurrent_requests',
  },
  imagesPerMinute: {
    unit: 'images per min (IPM)',
    periodMs: minuteMs,
    header: null,
    cost: 'images',
    errorType: 'images',
    member: 'max_images_per_1_minute',
  },
  audioMegabytesPerMinute: {
    unit: 'audio megabytes per min',
    periodMs: minuteMs,
    header: null,
    cost: 'audioMegabytes',
    errorType: 'audio',
    member: 'max_audio_megabytes_per_1_minute',
  },
  batchInputTokensPerDay: {
    unit: 'enqueued batch tokens per day',
    periodMs: dayMs,
    header: null,
    cost: 'batchTokens',
    errorType: 'tokens',
    member: 'batch_1_day_max_input_tokens',
  },
} as const satisfies Record<string, DimensionRow>

export type Dimension = keyof typeof dimensions
// keys() forgets that these are the keys of the table above
export const dimensionNames = Object.keys(dimensions) as readonly Dimension[]

export type Limits = { readonly [Name in Dimension]?: number }
/** What an organization has that is in no tier and was given no limits of its own: these are always bounded. */
export type ScopeLimits = { readonly requestsPerMinute: number; readonly tokensPerMinute: number }
export type EveryLimit = Limits & ScopeLimits
/** By model; '*' for all without a row of their own. */
export type LimitsByModel = ReadonlyMap<string, Limits>

/** The tighter of two sets of limits, dimension by dimension. */
export function tighter<One extends Limits>(one: One, other: Limits): One {
  const limits: { [Name in Dimension]?: number } = { ...one }
  for (const name of dimensionNames) {
    const value = other[name]
    if (value !== undefined) limits[name] = Math.min(value, one[name] ?? value)
  }
  // What `one` had is still there
  return limits as One
}

export type NamedLimits = { readonly [Member in LimitDimension]?: number | undefined }

/** By the names of the Administration API. */
export function namedLimits({ requestsPerMinute, tokensPerMinute, ...rest }: EveryLimit) {
  const named: { -readonly [Member in keyof NamedLimits]: number } = {}
  for (const name of dimensionNames) {
    const value = { requestsPerMinute, tokensPerMinute, ...rest }[name]
    if (value !== undefined) named[dimensions[name].member] = value
  }
  return { ...named, max_requests_per_1_minute: requestsPerMinute, max_tokens_per_1_minute: tokensPerMinute }
}

/** The other way round. */
export function limitsNamed(named: NamedLimits): Limits {
  const limits: { [Name in Dimension]?: number } = {}
  for (const name of dimensionNames) {
    const value = named[dimensions[name].member]
    if (value !== undefined) limits[name] = value
  }
  return limits
}
