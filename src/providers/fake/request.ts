import type { IncomingHttpHeaders } from 'node:http'
import { Refusal } from './refusal.ts'

/**
 * Reads the few fields of a request that the reply depends on. Everything else (temperature, seed, tools, …) is accepted
 * and ignored: the same request always gets the same bytes. Tokens are words: runs of anything but white space.
 */

/** What arrived, as `options.behaviour` sees it. */
export interface FakeRequest {
  /** 1 for the first request since the start. */
  readonly number: number
  readonly path: string
  readonly headers: IncomingHttpHeaders
  /** The parsed JSON body. */
  readonly body: Readonly<Record<string, unknown>>
  readonly model: string
  /** True when the caller asked for server-sent events. */
  readonly stream: boolean
}

/** One text to answer: what it costs and what the reply repeats. */
export interface Prompt {
  readonly tokens: number
  readonly text: string
}

/** What a generating endpoint was asked for. */
export interface Asked {
  readonly model: string
  readonly prompts: readonly Prompt[]
  /** Choices per prompt: `n`. */
  readonly choicesEach: number
  /** Infinity when the caller set no bound. */
  readonly outputTokensMax: number
  readonly stops: readonly string[]
  readonly usageInStream: boolean
}

type Body = FakeRequest['body']

/** Of one call: `n`, times the number of prompts. */
const choicesMax = 128
/** OpenAI's own default of `max_tokens` for completions. */
const completionTokensDefault = 16

export function readChat(body: Body): Asked {
  if (!Array.isArray(body.messages) || body.messages.length === 0) {
    throw new Refusal(400, "'messages' must be a list with at least one message.", 'messages')
  }
  const limit = body.max_completion_tokens === undefined ? 'max_tokens' : 'max_completion_tokens'
  const outputTokensMax = readInteger(body, limit, 1, Number.MAX_SAFE_INTEGER) ?? Number.POSITIVE_INFINITY
  return { ...readCommon(body), prompts: [readMessages(body.messages)], outputTokensMax }
}

export function readCompletion(body: Body): Asked {
  const outputTokensMax = readInteger(body, 'max_tokens', 0, Number.MAX_SAFE_INTEGER) ?? completionTokensDefault
  const common = readCommon(body)
  const prompts = readPrompts(body.prompt ?? '', 'prompt')
  if (prompts.length * common.choicesEach <= choicesMax) return { ...common, prompts, outputTokensMax }
  throw new Refusal(400, `'n' times the number of prompts may be at most ${choicesMax}.`, 'n')
}

/**
 * A string, a list of strings, a list of token numbers, or a list of such lists.
 * @throws Refusal 400 naming `param` for anything else.
 */
export function readPrompts(value: unknown, param: string): readonly Prompt[] {
  if (typeof value === 'string') return [{ tokens: countWords(value), text: value }]
  if (isTokenNumbers(value)) return [{ tokens: value.length, text: `${value.length} token numbers` }]
  if (Array.isArray(value) && value.length > 0 && value.every(isPrompt)) {
    return value.flatMap(each => readPrompts(each, param))
  }
  throw new Refusal(400, `'${param}' must be a string, a list of strings, or lists of token numbers.`, param)
}

/**
 * An integer field, or undefined when it is absent or null.
 * @throws Refusal 400 naming the field when it is anything else or out of bounds.
 */
export function readInteger(body: Body, param: string, min: number, max: number): number | undefined {
  const value = body[param] ?? undefined
  if (value === undefined) return undefined
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value
  throw new Refusal(400, `'${param}' must be an integer from ${min} to ${max}.`, param)
}

/** How many tokens a text is, by the fake's visible rule. */
function countWords(text: string): number {
  return text.match(/\S+/g)?.length ?? 0
}

function readCommon(body: Body) {
  return {
    model: String(body.model),
    choicesEach: readInteger(body, 'n', 1, choicesMax) ?? 1,
    stops: readStops(body.stop),
    usageInStream: isRecord(body.stream_options) && body.stream_options.include_usage === true,
  }
}

function readStops(stop: unknown): readonly string[] {
  const stops = Array.isArray(stop) ? stop : [stop]
  return stops.filter((text): text is string => typeof text === 'string' && text !== '')
}

function readMessages(messages: readonly unknown[]): Prompt {
  let tokens = 0
  let text = ''
  for (const message of messages) {
    if (!isRecord(message)) throw new Refusal(400, "Every entry of 'messages' must be an object.", 'messages')
    const content = readContent(message.content)
    tokens += countWords(content)
    if (message.role === 'user') text = content
  }
  return { tokens, text }
}

/** The text of a message: a string, or the text parts of a list; images and sound count nothing. */
function readContent(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content.map(part => (isRecord(part) && typeof part.text === 'string' ? part.text : '')).join(' ')
}

function isPrompt(value: unknown): boolean {
  return typeof value === 'string' || isTokenNumbers(value)
}

function isTokenNumbers(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.length > 0 && value.every(Number.isInteger)
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
