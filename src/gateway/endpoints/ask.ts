/**
 * A request body, checked just as far as Keyhouse itself needs it: which model, streamed or not, and the most that it
 * can use. Everything else is the provider's to judge, and passes through untouched.
 */
import { type ApiError, apiError } from '#contract/errors.ts'
import type { Scope } from '#contract/scopes.ts'
import type { ModelKind } from '#core/catalogue.ts'
import type { RequestedTier } from '#core/pricing.ts'

export type JsonObject = { readonly [member: string]: unknown }

export type Ask = {
  readonly model: string
  readonly stream: boolean
  /** The client asked for the usage chunk of a stream; we always do. */
  readonly includeUsage: boolean
  /** Answers to one request; each may be as long as the output bound. */
  readonly choices: number
  /** What the client set as bound on the output of each choice, and in which member. */
  readonly outputTokens: number | null
  readonly outputMember: 'max_tokens' | 'max_completion_tokens'
  /** In which service tier it asks to be served. Left out: as the provider sees fit. */
  readonly serviceTier?: RequestedTier
  /** What the answer is predicted to be: each of its bytes can be a token, and what does not come true is charged as output. */
  readonly predictedBytes?: number
  /** Images and files that come along, whose tokens have nothing to do with their bytes. Left out: none. */
  readonly attachments?: number
  /** What else is limited: how many images it makes, how much audio it brings, how many input tokens it queues as a batch. */
  readonly images?: number
  readonly audioMegabytes?: number
  readonly batchTokens?: number
}

export type CallEndpoint = {
  /** OpenAI's name for it, as in usage records and metrics. */
  readonly id: 'chat.completions' | 'completions' | 'embeddings'
  readonly scope: Scope
  readonly upstream: '/chat/completions' | '/completions' | '/embeddings'
  readonly kinds: readonly ModelKind[]
  /** What to do with a model of another kind. */
  readonly otherKinds: string
  readonly answers: boolean
  read(body: JsonObject, pathModel: string | null): Ask
}

const choicesMax = 128
const bestOfMax = 20
/** Larger than any model's context; beyond it a number is a mistake, not a bound. */
const outputTokensMax = 10_000_000

export const invalid = (param: string, message: string, code?: string): ApiError =>
  apiError('invalid_parameter', { param, message, ...(code !== undefined && { code }) })

export function readModel(body: JsonObject, pathModel: string | null): string {
  const { model } = body
  if (pathModel !== null) return pathModel
  if (model === undefined || model === null || model === '') {
    throw apiError('invalid_parameter', { param: 'model', message: 'you must provide a model parameter' })
  }
  if (typeof model !== 'string') throw wrongType('model', 'a string', model)
  return model
}

export function readStream(body: JsonObject): { stream: boolean; includeUsage: boolean } {
  const stream = body.stream ?? false
  if (typeof stream !== 'boolean') throw wrongType('stream', 'a boolean', stream)
  const options = body.stream_options ?? null
  if (options === null) return { stream, includeUsage: false }
  if (typeof options !== 'object' || Array.isArray(options)) throw wrongType('stream_options', 'an object', options)
  if (!stream) {
    throw invalid('stream_options', "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
  }
  // Checked to be an object above; its one member that matters to us is checked here.
  const includeUsage = (options as JsonObject).include_usage ?? false
  if (typeof includeUsage !== 'boolean') throw wrongType('stream_options.include_usage', 'a boolean', includeUsage)
  return { stream, includeUsage }
}

/** OpenAI's names. `scale` is capacity that was bought ahead, and default where it is used up. */
const serviceTiers: Readonly<Record<string, RequestedTier>> = {
  auto: 'auto',
  default: 'default',
  flex: 'flex',
  scale: 'default',
  priority: 'priority',
  fast: 'priority',
}

export function readServiceTier(body: JsonObject): RequestedTier {
  const tier = body.service_tier ?? 'auto'
  if (typeof tier !== 'string') throw wrongType('service_tier', 'a string', tier)
  const known = Object.hasOwn(serviceTiers, tier) ? serviceTiers[tier] : undefined
  if (known) return known
  const names = Object.keys(serviceTiers).map(name => `'${name}'`)
  const supported = `${names.slice(0, -1).join(', ')}, and ${names.at(-1)}`
  throw invalid(
    'service_tier',
    `Invalid value: '${tier.slice(0, 64)}'. Supported values are: ${supported}.`,
    'invalid_value',
  )
}

/** A whole number within bounds, or null where the member is absent. */
export function readCount(body: JsonObject, member: string, bounds: { min: number; max: number }): number | null {
  const value = body[member] ?? null
  if (value === null) return null
  if (typeof value !== 'number') throw wrongType(member, 'an integer', value)
  if (!Number.isInteger(value)) {
    throw invalid(
      member,
      `Invalid type for '${member}': expected an integer, but got a decimal number instead.`,
      'invalid_type',
    )
  }
  if (value < bounds.min) {
    throw invalid(
      member,
      `Invalid '${member}': integer below minimum value. Expected a value >= ${bounds.min}, but got ${value} instead.`,
      'integer_below_min_value',
    )
  }
  if (value > bounds.max) {
    throw invalid(
      member,
      `Invalid '${member}': integer above maximum value. Expected a value <= ${bounds.max}, but got ${value} instead.`,
      'integer_above_max_value',
    )
  }
  return value
}

const readChoices = (body: JsonObject): number => readCount(body, 'n', { min: 1, max: choicesMax }) ?? 1

/** Answers that are made, whether or not all of them are sent: some make more and keep the best. */
export const readCandidates = (body: JsonObject): number =>
  Math.max(readChoices(body), readCount(body, 'best_of', { min: 1, max: bestOfMax }) ?? 1)

export const readOutputTokens = (body: JsonObject, member: string, min = 1): number | null =>
  readCount(body, member, { min, max: outputTokensMax })

export function wrongType(param: string, expected: string, got: unknown): ApiError {
  return invalid(
    param,
    `Invalid type for '${param}': expected ${expected}, but got ${typeName(got)} instead.`,
    'invalid_type',
  )
}

function typeName(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'number' && !Number.isFinite(value)) return 'a number that is too large'
  return (
    { string: 'a string', number: 'a number', boolean: 'a boolean', object: 'an object' }[typeof value as string] ??
    'nothing'
  )
}
