// What providers really send, as bytes, and what it is read as. The shapes are those of their documentation in 2026.
import { describe, expect, test } from 'vitest'
import { readServiceTier, readUsage } from './read-usage.ts'
import { SseRelay } from './sse-relay.ts'
import { findUsage } from './usage-in-body.ts'

const plain = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }

const bodies: readonly [who: string, body: string, read: object][] = [
  [
    'OpenAI, chat completions',
    `{"id":"chatcmpl-1","object":"chat.completion","created":1790000000,"model":"gpt-6-sol","choices":[{"index":0,
      "message":{"role":"assistant","content":"Say \\"usage\\": {\\"prompt_tokens\\":9}"},"finish_reason":"stop"}],
      "usage":{"prompt_tokens":2600,"completion_tokens":300,"total_tokens":2900,"prompt_tokens_details":{"cached_tokens":2000,
      "audio_tokens":0,"cache_write_tokens":400},"completion_tokens_details":{"reasoning_tokens":256,"audio_tokens":0,
      "accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"priority","system_fingerprint":"fp_1"}`,
    { inputTokens: 2600, cachedInputTokens: 2000, cacheWriteTokens: 400, outputTokens: 300, reasoningTokens: 256 },
  ],
  [
    'OpenAI, audio in and out',
    `{"choices":[],"usage":{"prompt_tokens":120,"completion_tokens":90,"total_tokens":210,"prompt_tokens_details":
      {"cached_tokens":0,"text_tokens":20,"audio_tokens":100,"image_tokens":0},"completion_tokens_details":
      {"reasoning_tokens":0,"text_tokens":15,"audio_tokens":75}}}`,
    { inputTokens: 120, audioInputTokens: 100, outputTokens: 90, audioOutputTokens: 75 },
  ],
  [
    'OpenAI, responses',
    `{"object":"response","status":"completed","service_tier":"flex","usage":{"input_tokens":500,"input_tokens_details":
      {"cached_tokens":448,"cache_write_tokens":0},"output_tokens":80,"output_tokens_details":{"reasoning_tokens":64},
      "total_tokens":580}}`,
    { inputTokens: 500, cachedInputTokens: 448, outputTokens: 80, reasoningTokens: 64 },
  ],
  [
    'OpenAI, realtime: cached by kind',
    `{"usage":{"total_tokens":1300,"input_tokens":1000,"output_tokens":300,"input_token_details":{"text_tokens":300,
      "audio_tokens":600,"image_tokens":100,"cached_tokens":700,"cached_tokens_details":{"text_tokens":250,"audio_tokens":400,
      "image_tokens":50}},"output_token_details":{"text_tokens":50,"audio_tokens":250}}}`,
    {
      inputTokens: 1000,
      cachedInputTokens: 700,
      audioInputTokens: 600,
      cachedAudioInputTokens: 400,
      imageInputTokens: 100,
      cachedImageInputTokens: 50,
      outputTokens: 300,
      audioOutputTokens: 250,
    },
  ],
  [
    'DeepSeek',
    `{"usage":{"prompt_tokens":1200,"completion_tokens":50,"total_tokens":1250,"prompt_tokens_details":{"cached_tokens":1024},
      "prompt_cache_hit_tokens":1024,"prompt_cache_miss_tokens":176}}`,
    { inputTokens: 1200, cachedInputTokens: 1024, outputTokens: 50 },
  ],
  [
    'DeepSeek, before it had details',
    `{"usage":{"prompt_tokens":1200,"completion_tokens":50,"total_tokens":1250,"prompt_cache_hit_tokens":1024,
      "prompt_cache_miss_tokens":176}}`,
    { inputTokens: 1200, cachedInputTokens: 1024, outputTokens: 50 },
  ],
  [
    'Moonshot',
    '{"usage":{"prompt_tokens":800,"completion_tokens":20,"total_tokens":820,"cached_tokens":768}}',
    { inputTokens: 800, cachedInputTokens: 768, outputTokens: 20 },
  ],
  [
    'OpenRouter, whose own price is not ours',
    `{"usage":{"prompt_tokens":900,"completion_tokens":60,"total_tokens":960,"cost":0.0042,"is_byok":false,"cost_details":
      {"upstream_inference_cost":null},"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":850,"audio_tokens":0,
      "video_tokens":0},"completion_tokens_details":{"reasoning_tokens":12,"image_tokens":0},"server_tool_use":
      {"web_search_requests":2}}}`,
    { inputTokens: 900, cacheWriteTokens: 850, outputTokens: 60, reasoningTokens: 12, webSearchCalls: 2 },
  ],
  [
    'Anthropic behind a translator that counts all of the prompt',
    `{"usage":{"prompt_tokens":2100,"completion_tokens":40,"total_tokens":2140,"prompt_tokens_details":{"cached_tokens":1500},
      "cache_creation_input_tokens":500,"cache_read_input_tokens":1500}}`,
    { inputTokens: 2100, cachedInputTokens: 1500, cacheWriteTokens: 500, outputTokens: 40 },
  ],
  [
    'Anthropic behind one that leaves the cached part out of the prompt',
    `{"usage":{"prompt_tokens":100,"completion_tokens":40,"total_tokens":140,"cache_creation_input_tokens":500,
      "cache_read_input_tokens":1500}}`,
    { inputTokens: 2100, cachedInputTokens: 1500, cacheWriteTokens: 500, outputTokens: 40 },
  ],
  [
    'Anthropic behind one that leaves it out, but not out of the total',
    `{"usage":{"prompt_tokens":3000,"completion_tokens":40,"total_tokens":5040,"cache_creation_input_tokens":500,
      "cache_read_input_tokens":1500}}`,
    { inputTokens: 5000, cachedInputTokens: 1500, cacheWriteTokens: 500, outputTokens: 40 },
  ],
  [
    'Anthropic in its own words',
    `{"usage":{"input_tokens":100,"cache_creation_input_tokens":500,"cache_read_input_tokens":1500,"cache_creation":
      {"ephemeral_5m_input_tokens":200,"ephemeral_1h_input_tokens":300},"output_tokens":40,"output_tokens_details":
      {"thinking_tokens":30},"service_tier":"standard","server_tool_use":{"web_search_requests":1}}}`,
    {
      inputTokens: 2100,
      cachedInputTokens: 1500,
      cacheWriteTokens: 500,
      cacheWrite1hTokens: 300,
      outputTokens: 40,
      reasoningTokens: 30,
      webSearchCalls: 1,
    },
  ],
  [
    'Gemini, whose thoughts are in the total alone',
    '{"usage":{"completion_tokens":198,"prompt_tokens":20,"total_tokens":623}}',
    { inputTokens: 20, outputTokens: 603, reasoningTokens: 405 },
  ],
  [
    'xAI, whose thoughts are beside the output',
    `{"usage":{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,"prompt_tokens_details":{"text_tokens":32,
      "audio_tokens":0,"image_tokens":0,"cached_tokens":6},"completion_tokens_details":{"reasoning_tokens":94,"audio_tokens":0,
      "accepted_prediction_tokens":0,"rejected_prediction_tokens":0},"num_sources_used":0}}`,
    { inputTokens: 32, cachedInputTokens: 6, outputTokens: 103, reasoningTokens: 94 },
  ],
  [
    'Perplexity, whose searches, citations and thoughts are beside everything',
    `{"usage":{"prompt_tokens":33,"completion_tokens":7163,"total_tokens":7196,"citation_tokens":20016,
      "num_search_queries":28,"reasoning_tokens":95305}}`,
    { inputTokens: 33, outputTokens: 122_484, reasoningTokens: 95_305, webSearchCalls: 28 },
  ],
  [
    'vLLM',
    '{"usage":{"prompt_tokens":14,"total_tokens":31,"completion_tokens":17,"prompt_tokens_details":null}}',
    { inputTokens: 14, outputTokens: 17 },
  ],
  [
    'llama.cpp',
    `{"usage":{"completion_tokens":17,"prompt_tokens":14,"total_tokens":31},"timings":{"prompt_n":1,"prompt_ms":4.2}}`,
    { inputTokens: 14, outputTokens: 17 },
  ],
  [
    'Groq',
    `{"usage":{"queue_time":0.03,"prompt_tokens":18,"prompt_time":0.001,"completion_tokens":4,"completion_time":0.01,
      "total_tokens":22,"total_time":0.011},"x_groq":{"id":"req_1"},"service_tier":"on_demand"}`,
    { inputTokens: 18, outputTokens: 4 },
  ],
  [
    'one that only gives the total',
    '{"usage":{"prompt_tokens":10,"total_tokens":25}}',
    { inputTokens: 10, outputTokens: 15 },
  ],
  [
    'one that has cached more than there was, and thought more than it said',
    `{"usage":{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":99,"audio_tokens":-3},
      "completion_tokens_details":{"reasoning_tokens":77}}}`,
    { inputTokens: 10, cachedInputTokens: 10, outputTokens: 5, reasoningTokens: 5 },
  ],
]

const known = (value: object | undefined) =>
  Object.fromEntries(Object.entries(value ?? {}).filter(([, count]) => count !== undefined && count !== 0))

describe('the usage of a whole answer', () => {
  test.each(bodies)('%s', (_who, body, read) => {
    expect(known(readUsage(findUsage(Buffer.from(body)), true))).toEqual(known({ ...plain, ...read }))
  })

  test('of embeddings has no output', () => {
    const body = Buffer.from('{"data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":8,"total_tokens":8}}')
    expect(known(readUsage(findUsage(body), false))).toEqual({ inputTokens: 8 })
  })

  test.each([
    ['no number', '{"usage":{"prompt_tokens":"12","completion_tokens":3}}'],
    ['less than nothing', '{"usage":{"prompt_tokens":12,"completion_tokens":-3}}'],
    ['half a token', '{"usage":{"prompt_tokens":1.5,"completion_tokens":3}}'],
    ['more than anyone has', '{"usage":{"prompt_tokens":1e15,"completion_tokens":3}}'],
    ['nothing of the input', '{"usage":{"completion_tokens":3}}'],
    ['a total below the input', '{"usage":{"prompt_tokens":12,"total_tokens":3}}'],
  ])('that says %s is not believed', (_what, body) => {
    expect(readUsage(findUsage(Buffer.from(body)), true)).toBeUndefined()
  })
})

describe('the usage of a stream', () => {
  const streamed = (...events: string[]): SseRelay => {
    const relay = new SseRelay(false)
    for (const event of events) relay.push(Buffer.from(`data: ${event}\n\n`))
    return relay
  }

  test('comes in a chunk of its own', () => {
    const { usage } = streamed(
      '{"choices":[{"index":0,"delta":{"content":"Hi"}}],"usage":null}',
      `{"choices":[],"service_tier":"flex","usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10,
      "prompt_tokens_details":{"cached_tokens":4}}}`.replaceAll('\n', ''),
      '[DONE]',
    )
    expect(known(readUsage(usage, true))).toEqual({ inputTokens: 7, cachedInputTokens: 4, outputTokens: 3 })
  })

  test('or grows from chunk to chunk, and the last counts', () => {
    const chunk = (output: number) =>
      `{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":7,"completion_tokens":${output},"total_tokens":${7 + output}}}`
    expect(known(readUsage(streamed(chunk(1), chunk(2), chunk(9)).usage, true))).toEqual({
      inputTokens: 7,
      outputTokens: 9,
    })
  })
})

describe('the service tier', () => {
  test.each([
    ['priority', undefined, 'priority'],
    ['fast', undefined, 'priority'],
    ['ultrafast', undefined, 'priority'],
    ['flex', undefined, 'flex'],
    ['batch', undefined, 'batch'],
    ['default', undefined, 'default'],
    ['scale', undefined, 'default'],
    ['on_demand', undefined, 'default'],
    ['toString', undefined, 'default'],
    [undefined, { service_tier: 'batch' }, 'batch'],
    [null, { service_tier: 'standard' }, 'default'],
    [7, undefined, 'default'],
  ])('%o with %o is %s', (stated, usage, tier) => {
    expect(readServiceTier(stated, usage)).toBe(tier)
  })
})
