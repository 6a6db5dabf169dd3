/**
 * Reads the bodies of the three endpoints: OpenAI's fields, types and ranges. What the model cannot do is refused with
 * the field's name, never quietly dropped; fields that only label a request are accepted and ignored.
 */
import { jsonObjectGrammar, jsonSchemaGrammar } from './grammar.ts'
import type { ChatMessage, Sampling } from './model.ts'
import { refuse } from './refusal.ts'

export type Body = Readonly<Record<string, unknown>>

type Common = {
  readonly model: string
  readonly stream: boolean
  readonly includeUsage: boolean
  readonly sampling: Sampling
  readonly stop: readonly string[]
  /** `null` asks for as much as the context holds. */
  readonly outputTokensMax: number | null
}

export type ChatRequest = Common & { readonly messages: readonly ChatMessage[] }
export type CompletionRequest = Common & { readonly prompt: string }
export type EmbeddingsRequest = {
  readonly model: string
  readonly input: readonly string[]
  readonly encodingFormat: 'float' | 'base64'
  readonly dimensions: number | null
}

const stopsMax = 4
const stopCharsMax = 256
const inputsMax = 2048
/** OpenAI's default of 1 lets a 2-bit model fall apart; this is where it still reads well. */
const temperatureDefault = 0.7
const completionTokensDefault = 16

const labels = [
  'user',
  'metadata',
  'store',
  'service_tier',
  'safety_identifier',
  'prompt_cache_key',
  'prompt_cache_retention',
]
const sampled = ['temperature', 'top_p', 'seed', 'stop', 'max_tokens', 'n', 'stream', 'stream_options']
const penalties = ['frequency_penalty', 'presence_penalty']

type Unsupported = { readonly asks: (value: unknown) => boolean; readonly advice: string }

const isFilled = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Object.keys(value).length > 0
const isTrue = (value: unknown): boolean => value === true
const isAnything = (): boolean => true
const isMany = (value: unknown): boolean => value !== 1

const otherModel = 'Remove it, or use a model of a provider that supports it.'

const unsupported = {
  tools: { asks: isFilled, advice: 'Remove it, or ask for JSON with response_format.' },
  functions: { asks: isFilled, advice: 'Remove it, or ask for JSON with response_format.' },
  tool_choice: { asks: value => value !== 'none' && value !== 'auto', advice: otherModel },
  function_call: { asks: value => value !== 'none' && value !== 'auto', advice: otherModel },
  parallel_tool_calls: { asks: () => false, advice: otherModel },
  n: { asks: isMany, advice: 'It answers once per request: leave n at 1 and send several requests.' },
  best_of: { asks: isMany, advice: 'Leave best_of at 1.' },
  logprobs: { asks: value => value !== false, advice: otherModel },
  top_logprobs: { asks: isAnything, advice: otherModel },
  logit_bias: { asks: isFilled, advice: otherModel },
  echo: { asks: isTrue, advice: 'Put the prompt in front of the answer yourself.' },
  suffix: { asks: value => value !== '', advice: otherModel },
  audio: { asks: isAnything, advice: otherModel },
  modalities: { asks: value => JSON.stringify(value) !== '["text"]', advice: 'It writes text only.' },
  prediction: { asks: isAnything, advice: otherModel },
  reasoning_effort: { asks: isAnything, advice: 'It does not reason before it answers: remove it.' },
  verbosity: { asks: isAnything, advice: 'Remove it, and ask for a length in the prompt.' },
  web_search_options: { asks: isAnything, advice: otherModel },
} as const satisfies Record<string, Unsupported>

const checkFields = (body: Body, handled: readonly string[], refused: readonly (keyof typeof unsupported)[]): void => {
  for (const [param, value] of Object.entries(body)) {
    const row: Unsupported | undefined =
      refused.find(name => name === param) && unsupported[param as keyof typeof unsupported]
    if (row !== undefined && value !== null && value !== undefined && row.asks(value))
      throw refuse.unsupported(param, row.advice)
    if (row === undefined && !handled.includes(param) && !labels.includes(param)) throw refuse.unknown(param)
  }
}

type Range = { readonly min: number; readonly max: number; readonly whole?: boolean }

const numberOf = <Fallback>(body: Body, param: string, range: Range, fallback: Fallback): number | Fallback => {
  const value = body[param]
  if (value === undefined || value === null) return fallback
  if (typeof value !== 'number') throw refuse.wrongType(param, range.whole ? 'an integer' : 'a number', value)
  if (range.whole && !Number.isInteger(value)) throw refuse.badValue(param, 'expected an integer.')
  if (value < range.min) throw refuse.outOfRange(param, `>= ${range.min}`, value)
  if (value > range.max) throw refuse.outOfRange(param, `<= ${range.max}`, value)
  return value
}

const booleanOf = (body: Body, param: string): boolean => {
  const value = body[param] ?? false
  if (typeof value !== 'boolean') throw refuse.wrongType(param, 'a boolean', value)
  return value
}

const modelOf = (body: Body): string => {
  const value = body.model
  if (value === undefined) throw refuse.missing('model')
  if (typeof value !== 'string') throw refuse.wrongType('model', 'a string', value)
  return value
}

const stopOf = (body: Body): readonly string[] => {
  const value = body.stop ?? []
  const stops: unknown[] = Array.isArray(value) ? value : [value]
  if (stops.length > stopsMax) throw refuse.badValue('stop', `expected at most ${stopsMax} strings.`)
  return stops.map(stop => {
    if (typeof stop !== 'string') throw refuse.wrongType('stop', 'a string or an array of strings', stop)
    if (stop === '' || stop.length > stopCharsMax)
      throw refuse.badValue('stop', `each has 1 to ${stopCharsMax} characters.`)
    return stop
  })
}

const randomSeed = (): number => crypto.getRandomValues(new Uint32Array(1))[0] ?? 0

const seedOf = (body: Body): number => {
  const safe = { min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER, whole: true }
  const value = numberOf(body, 'seed', safe, null)
  return value === null ? randomSeed() : Number(BigInt.asUintN(32, BigInt(value)))
}

const samplingOf = (body: Body, grammar: string | null): Sampling => ({
  temperature: numberOf(body, 'temperature', { min: 0, max: 2 }, temperatureDefault),
  topP: numberOf(body, 'top_p', { min: 0, max: 1 }, 1),
  seed: seedOf(body),
  frequencyPenalty: numberOf(body, 'frequency_penalty', { min: -2, max: 2 }, 0),
  presencePenalty: numberOf(body, 'presence_penalty', { min: -2, max: 2 }, 0),
  grammar,
})

const includeUsageOf = (body: Body, stream: boolean): boolean => {
  const value = body.stream_options
  if (value === undefined || value === null) return false
  if (!stream) throw refuse.badValue('stream_options', 'it is only allowed when stream is true.')
  if (typeof value !== 'object') throw refuse.wrongType('stream_options', 'an object', value)
  return 'include_usage' in value && value.include_usage === true
}

const tokensRange: Range = { min: 1, max: Number.MAX_SAFE_INTEGER, whole: true }

const commonOf = (body: Body, outputTokensMax: number | null, grammar: string | null): Common => {
  const stream = booleanOf(body, 'stream')
  return {
    model: modelOf(body),
    stream,
    includeUsage: includeUsageOf(body, stream),
    sampling: samplingOf(body, grammar),
    stop: stopOf(body),
    outputTokensMax,
  }
}

const chatTokensOf = (body: Body): number | null => {
  const old = numberOf(body, 'max_tokens', tokensRange, null)
  const current = numberOf(body, 'max_completion_tokens', tokensRange, null)
  if (old !== null && current !== null && old !== current) {
    throw refuse.badValue('max_tokens', 'set max_completion_tokens or max_tokens, not both.')
  }
  return current ?? old
}

const roles: Readonly<Record<string, ChatMessage['role']>> = {
  system: 'system',
  developer: 'system',
  user: 'user',
  assistant: 'assistant',
}

const partText = (part: unknown, param: string): string => {
  if (typeof part !== 'object' || part === null || !('type' in part)) throw refuse.wrongType(param, 'an object', part)
  if (part.type !== 'text') throw refuse.unsupported(param, 'It reads text only, no images, audio or files.')
  if (!('text' in part) || typeof part.text !== 'string') throw refuse.missing(`${param}.text`)
  return part.text
}

const contentOf = (content: unknown, param: string, role: ChatMessage['role']): string => {
  if (typeof content === 'string') return content
  if (Array.isArray(content)) return content.map((part, index) => partText(part, `${param}[${index}]`)).join('\n')
  if ((content === null || content === undefined) && role === 'assistant') return ''
  throw refuse.wrongType(param, 'a string or an array of text parts', content)
}

const messageOf = (message: unknown, index: number): ChatMessage => {
  const param = `messages[${index}]`
  if (typeof message !== 'object' || message === null) throw refuse.wrongType(param, 'an object', message)
  const given = 'role' in message ? message.role : undefined
  const role = typeof given === 'string' ? roles[given] : undefined
  if (role === undefined) {
    if (given === 'tool' || given === 'function') throw refuse.unsupported(`${param}.role`, 'It cannot use tools.')
    throw refuse.badValue(`${param}.role`, `supported are ${Object.keys(roles).join(', ')}.`)
  }
  if ('tool_calls' in message && isFilled(message.tool_calls)) {
    throw refuse.unsupported(`${param}.tool_calls`, 'It cannot use tools.')
  }
  return { role, content: contentOf('content' in message ? message.content : undefined, `${param}.content`, role) }
}

const messagesOf = (body: Body): readonly ChatMessage[] => {
  const value = body.messages
  if (value === undefined) throw refuse.missing('messages')
  if (!Array.isArray(value)) throw refuse.wrongType('messages', 'an array', value)
  if (value.length === 0) throw refuse.badValue('messages', 'expected at least one message.')
  return value.map(messageOf)
}

const schemaGrammar = (format: object): string => {
  const given = 'json_schema' in format ? format.json_schema : undefined
  if (typeof given !== 'object' || given === null) throw refuse.missing('response_format.json_schema')
  if (!('schema' in given)) throw refuse.missing('response_format.json_schema.schema')
  return jsonSchemaGrammar(given.schema, 'strict' in given && given.strict === true)
}

/** OpenAI refuses it too: a model that does not know it should write JSON fills the grammar with noise. */
const requireTheWordJson = (messages: readonly ChatMessage[]): void => {
  if (messages.some(({ content }) => /json/i.test(content))) return
  throw refuse.badValue(
    'messages',
    "must contain the word 'json' in some form, to use a response_format of type json_object.",
  )
}

const grammarOf = (body: Body, messages: readonly ChatMessage[]): string | null => {
  const format = body.response_format
  if (format === undefined || format === null) return null
  if (typeof format !== 'object') throw refuse.wrongType('response_format', 'an object', format)
  const type = 'type' in format ? format.type : undefined
  if (type === 'text') return null
  if (type === 'json_schema') return schemaGrammar(format)
  if (type !== 'json_object') throw refuse.badValue('response_format', 'type is text, json_object or json_schema.')
  requireTheWordJson(messages)
  return jsonObjectGrammar
}

const chatRefused = [
  ...(['tools', 'functions', 'tool_choice', 'function_call', 'parallel_tool_calls', 'n', 'logprobs'] as const),
  ...(['top_logprobs', 'logit_bias', 'audio', 'modalities', 'prediction', 'reasoning_effort', 'verbosity'] as const),
  'web_search_options',
] as const

export const parseChat = (body: Body): ChatRequest => {
  const handled = ['model', 'messages', 'max_completion_tokens', 'response_format', ...sampled, ...penalties]
  checkFields(body, handled, chatRefused)
  const messages = messagesOf(body)
  return { ...commonOf(body, chatTokensOf(body), grammarOf(body, messages)), messages }
}

const promptOf = (body: Body): string => {
  const value = body.prompt ?? ''
  const only: unknown = Array.isArray(value) && value.length === 1 ? value[0] : value
  if (typeof only === 'string') return only
  throw refuse.unsupported('prompt', 'It takes one string per request, and no token ids: send several requests.')
}

export const parseCompletion = (body: Body): CompletionRequest => {
  checkFields(
    body,
    ['model', 'prompt', ...sampled, ...penalties],
    ['n', 'best_of', 'logprobs', 'logit_bias', 'echo', 'suffix'],
  )
  const outputTokensMax = numberOf(body, 'max_tokens', tokensRange, completionTokensDefault)
  return { ...commonOf(body, outputTokensMax, null), prompt: promptOf(body) }
}

const inputOf = (body: Body): readonly string[] => {
  const value = body.input
  if (value === undefined) throw refuse.missing('input')
  const inputs: unknown[] = Array.isArray(value) ? value : [value]
  if (inputs.length === 0 || inputs.length > inputsMax) {
    throw refuse.badValue('input', `expected a string or an array of 1 to ${inputsMax} strings.`)
  }
  return inputs.map(input => {
    if (typeof input === 'number' || Array.isArray(input)) {
      throw refuse.unsupported(
        'input',
        'It takes text, not token ids: with LangChain set check_embedding_ctx_length=False.',
      )
    }
    if (typeof input !== 'string') throw refuse.wrongType('input', 'a string or an array of strings', input)
    if (input === '') throw refuse.badValue('input', 'a string in it is empty.')
    return input
  })
}

export const parseEmbeddings = (body: Body): EmbeddingsRequest => {
  checkFields(body, ['model', 'input', 'encoding_format', 'dimensions'], [])
  const encodingFormat = body.encoding_format ?? 'float'
  if (encodingFormat !== 'float' && encodingFormat !== 'base64') {
    throw refuse.badValue('encoding_format', 'supported are float and base64.')
  }
  return {
    model: modelOf(body),
    input: inputOf(body),
    encodingFormat,
    dimensions: numberOf(body, 'dimensions', tokensRange, null),
  }
}
