/** The official `openai` package for Python, and the classic example with `requests`. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startGateway, type TestGateway } from './support/gateway.ts'
import { has, python } from './support/system.ts'

type Failure = { class: string; status: number | null; code: string | null; param: string | null }
type Found = {
  chat: { text: string; finish_reason: string }
  request_id: string
  stream: { text: string; usage: number }
  whole_usage: number
  completion: string
  completion_stream: string
  embeddings: { sizes: number[]; equal: boolean }
  models: string[]
  retrieved: string
  errors: Record<string, Failure>
  waited_seconds: number
  classic: { status: number; content_type: string; text: string }
}

const script = fileURLToPath(new URL('support/openai_calls.py', import.meta.url))
const scriptTimeoutMs = 25_000

describe.runIf(has('python-openai'))('Python', () => {
  let gateway: TestGateway
  let found: Found

  beforeAll(async () => {
    gateway = await startGateway({
      settings: { 'first-credit-usd': '0.5', 'clamped-output-tokens-min': '0' },
      cases: {
        cut: { fault: 'cut', outputTokens: 20, chunkIntervalMs: 5 },
        busy: { fault: 'status', status: 429, retryAfterSeconds: 1 },
      },
    })
    await gateway.admin('POST', '/v1/platform/model_aliases', { alias: 'davinci-codex', model: 'm' })
    const run = promisify(execFile)
    const { keys, url } = gateway
    const { stdout } = await run(python, [script, url, keys.project, keys.admin], { timeout: scriptTimeoutMs })
    // The script's last line says what it prints; the tests read every member of it.
    found = JSON.parse(stdout) as Found
  })

  afterAll(() => gateway.stop())

  test('a chat is answered, and its request id is known', () => {
    expect(found.chat.text).toContain('You said: hello there')
    expect(found.chat.finish_reason).toBe('stop')
    expect(found.request_id).toMatch(/^req_/)
  })

  test('a streamed chat says the same and counts the same', () => {
    expect(found.stream).toEqual({ text: found.chat.text, usage: found.whole_usage })
  })

  test('completions work, streamed and not', () => {
    expect(found.completion.split(/\s+/)).toHaveLength(5)
    expect(found.completion_stream).toBe(found.completion)
  })

  test('embeddings are the same as base64 and as floats', () => {
    expect(found.embeddings).toEqual({ sizes: [16, 16], equal: true })
  })

  test('models are listed and retrieved, aliases among them', () => {
    expect(found.models).toEqual(['davinci-codex', 'e', 'm'])
    expect(found.retrieved).toBe('m')
  })

  test("errors are the SDK's own classes with code and param", () => {
    expect(found.errors).toMatchObject({
      'wrong key': { class: 'AuthenticationError', status: 401, code: 'invalid_api_key' },
      'admin key': { class: 'AuthenticationError', status: 401, code: null },
      'unknown model': { class: 'NotFoundError', status: 404, code: 'model_not_found', param: 'model' },
      'wrong parameter': { class: 'BadRequestError', status: 400, param: 'max_tokens' },
      'wrong type': { class: 'BadRequestError', status: 400, param: 'n', code: 'invalid_type' },
      'no credit': { class: 'RateLimitError', status: 429, code: 'credit_balance_exhausted' },
      'cut stream': { class: 'APIError', status: null, code: 'stream_cut' },
    })
  })

  test('the wait that a provider asks for is kept', () => {
    expect(found.errors["provider's wait"]).toMatchObject({ class: 'RateLimitError', status: 429 })
    expect(found.waited_seconds).toBeGreaterThan(0.99)
  })

  test('the classic example with requests calls a model by its alias, in the path', () => {
    expect(found.classic).toMatchObject({ status: 200, content_type: 'application/json' })
    expect(found.classic.text).toContain('def hello()')
  })
})
