import { expect, test } from 'vitest'
import { RefusalError } from './refusal.ts'
import { type Body, parseChat, parseCompletion, parseEmbeddings } from './request.ts'

const refusalOf = (parse: (body: Body) => unknown, body: Body) => {
  try {
    parse(body)
  } catch (error) {
    if (error instanceof RefusalError) return error.refusal
    throw error
  }
  throw new Error('it was accepted')
}

const messages = [{ role: 'user', content: 'hello' }]
const chat = (more: Body): Body => ({ model: 'm', messages, ...more })

test.each<[string, Body, string]>([
  ['tools', { tools: [{ type: 'function' }] }, 'tools'],
  ['a forced tool', { tool_choice: 'required' }, 'tool_choice'],
  ['two answers', { n: 2 }, 'n'],
  ['log probabilities', { logprobs: true }, 'logprobs'],
  ['a logit bias', { logit_bias: { 50: 1 } }, 'logit_bias'],
  ['audio', { audio: { voice: 'x' } }, 'audio'],
  ['an unknown field', { tempreature: 1 }, 'tempreature'],
  ['a temperature of 3', { temperature: 3 }, 'temperature'],
  ['a temperature in words', { temperature: 'hot' }, 'temperature'],
  ['a top_p of -1', { top_p: -1 }, 'top_p'],
  ['a limit of 0 tokens', { max_tokens: 0 }, 'max_tokens'],
  ['a limit of -1 tokens', { max_completion_tokens: -1 }, 'max_completion_tokens'],
  ['half a token', { max_tokens: 1.5 }, 'max_tokens'],
  ['endless tokens', { max_tokens: Number.POSITIVE_INFINITY }, 'max_tokens'],
  ['two different limits', { max_tokens: 1, max_completion_tokens: 2 }, 'max_tokens'],
  ['five stop strings', { stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop'],
  ['an empty stop string', { stop: '' }, 'stop'],
  ['a stop number', { stop: [1] }, 'stop'],
  ['stream options without a stream', { stream_options: { include_usage: true } }, 'stream_options'],
  ['a stream of "yes"', { stream: 'yes' }, 'stream'],
  ['no messages', { messages: [] }, 'messages'],
  ['messages as text', { messages: 'hello' }, 'messages'],
  ['a tool message', { messages: [{ role: 'tool', content: 'x' }] }, 'messages[0].role'],
  ['an unknown role', { messages: [{ role: 'robot', content: 'x' }] }, 'messages[0].role'],
  ['a message without content', { messages: [{ role: 'user' }] }, 'messages[0].content'],
  ['an image', { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }, 'messages[0].content[0]'],
  ['a response format of xml', { response_format: { type: 'xml' } }, 'response_format'],
  ['JSON without the word', { response_format: { type: 'json_object' } }, 'messages'],
  ['a schema that is missing', { response_format: { type: 'json_schema' } }, 'response_format.json_schema'],
])('%s in a chat is refused with 400 and its name', (_what, body, param) => {
  const refusal = refusalOf(parseChat, chat(body))
  expect(refusal).toMatchObject({ status: 400, type: 'invalid_request_error', param })
  expect(refusal.message.length).toBeGreaterThan(20)
})

test.each<[string, Body, string]>([
  ['echo', { echo: true }, 'echo'],
  ['a suffix', { suffix: 'end' }, 'suffix'],
  ['best of two', { best_of: 2 }, 'best_of'],
  ['two prompts', { prompt: ['a', 'b'] }, 'prompt'],
  ['a prompt of tokens', { prompt: [1, 2] }, 'prompt'],
])('%s in a completion is refused with 400 and its name', (_what, body, param) => {
  expect(refusalOf(parseCompletion, { model: 'm', prompt: 'x', ...body })).toMatchObject({ status: 400, param })
})

test.each<[string, Body, string]>([
  ['no input', {}, 'input'],
  ['an empty input', { input: '' }, 'input'],
  ['an empty list', { input: [] }, 'input'],
  ['too many inputs', { input: Array.from({ length: 2049 }, () => 'x') }, 'input'],
  ['token ids', { input: [1, 2, 3] }, 'input'],
  ['lists of token ids', { input: [[1, 2], [3]] }, 'input'],
  ['an unknown encoding', { input: 'x', encoding_format: 'hex' }, 'encoding_format'],
])('%s for embeddings is refused with 400 and its name', (_what, body, param) => {
  expect(refusalOf(parseEmbeddings, { model: 'm', ...body })).toMatchObject({ status: 400, param })
})

test('fields that ask for nothing special are accepted', () => {
  const harmless = {
    tools: [],
    tool_choice: 'none',
    n: 1,
    logprobs: false,
    logit_bias: {},
    user: 'u',
    metadata: { a: 'b' },
  }
  const nulls = {
    stop: null,
    seed: null,
    temperature: null,
    max_tokens: null,
    response_format: null,
    stream_options: null,
  }
  expect(parseChat(chat({ ...harmless, ...nulls }))).toMatchObject({ stop: [], outputTokensMax: null })
})

test('developer is system, and text parts are joined', () => {
  const parts = [
    { type: 'text', text: 'a' },
    { type: 'text', text: 'b' },
  ]
  const body = chat({
    messages: [
      { role: 'developer', content: 'be brief' },
      { role: 'user', content: parts },
    ],
  })
  expect(parseChat(body).messages).toEqual([
    { role: 'system', content: 'be brief' },
    { role: 'user', content: 'a\nb' },
  ])
})

test('a seed of any size becomes 32 bits, and the same seed the same bits', () => {
  const seedOf = (seed: number) => parseChat(chat({ seed })).sampling.seed
  expect(seedOf(7)).toBe(7)
  expect(seedOf(-1)).toBe(0xffffffff)
  expect(seedOf(2 ** 32 + 5)).toBe(5)
})

test('a completion without a limit writes 16 tokens, as the old API did', () => {
  expect(parseCompletion({ model: 'm', prompt: ['only one'] })).toMatchObject({
    outputTokensMax: 16,
    prompt: 'only one',
  })
})
