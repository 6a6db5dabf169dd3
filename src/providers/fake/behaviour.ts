/**
 * How the fake upstream behaves for one request: how slow it is, how much it says, what it reports as used, and where it
 * breaks. Every field has a plain value, so a model row or a test states only what is odd about it.
 */

/**
 * Where it breaks.
 * - `reset`: the connection is destroyed before any header (TCP: with RST).
 * - `hang`: no byte is ever sent; the connection stays open until the client leaves or {@link hangMsMax} is over.
 * - `cut`: the connection is destroyed in the middle of the body.
 * - `truncate`: the body ends half way, but HTTP ends it properly: a stream without finish reason and `[DONE]`, or half a
 *   JSON document with the content-length of that half.
 * - `malformed`: status 200 and something that is not JSON: a page for a unary call, one broken event within a stream.
 * - `status`: the answer is `status` with an OpenAI error body.
 */
export type Fault = 'reset' | 'hang' | 'cut' | 'truncate' | 'malformed' | 'status'

/**
 * Where usage stands in the answer; only streams differ, except for `absent` and `spaced`.
 * - `openai`: when asked by `stream_options.include_usage`, null on every chunk, then one chunk with no choices.
 * - `absent`: nowhere, asked or not.
 * - `every-chunk`: running totals on every chunk, asked or not, and no chunk of its own.
 * - `with-choices`: on the chunk with the last finish reason, asked or not, and no chunk of its own.
 * - `spaced`: as `openai`, in JSON with spaces after colons and commas and with lines ended by CRLF.
 */
export type UsageShape = 'openai' | 'absent' | 'every-chunk' | 'with-choices' | 'spaced'

export type FinishReason = 'stop' | 'length' | 'content_filter'

export interface Behaviour {
  /** Wait before the first byte, errors included. */
  readonly latencyMs: number
  /** Wait between two writes of a stream. */
  readonly chunkIntervalMs: number
  /** Exactly so many visible tokens per choice, unless `max_tokens` or `stop` cuts them; null: what the reply has. */
  readonly outputTokens: number | null
  /** What usage reports as prompt tokens; null: the words of the prompt. */
  readonly promptTokens: number | null
  /** Reported as read from a cache; never more than the prompt tokens. */
  readonly cachedTokens: number
  /** Reported per choice as thought and not shown; they count as output and against `max_tokens`. */
  readonly reasoningTokens: number
  /** The text of every token instead of the words of the reply; null: the words. */
  readonly chunkText: string | null
  /** Replaces the finish reason that would follow from the request; null: `stop` or `length`. */
  readonly finishReason: FinishReason | null
  readonly fault: Fault | null
  /** How many token chunks a stream sends before `cut`, `truncate` or `malformed`; null: half of them. */
  readonly faultAfterTokens: number | null
  /** The HTTP status of the `status` fault. */
  readonly status: number
  /** Sent as `retry-after` with the `status` fault; null: no such header. */
  readonly retryAfterSeconds: number | null
  readonly usageShape: UsageShape
  /** Write the body in pieces of so many bytes, so that events straddle the borders of chunks; null: one event a write. */
  readonly splitBytes: number | null
  /** Extra response headers, lower case. */
  readonly headers: Readonly<Record<string, string>>
}

/** Answers at once, with what OpenAI would send. */
export const plainBehaviour: Behaviour = Object.freeze({
  latencyMs: 0,
  chunkIntervalMs: 0,
  outputTokens: null,
  promptTokens: null,
  cachedTokens: 0,
  reasoningTokens: 0,
  chunkText: null,
  finishReason: null,
  fault: null,
  faultAfterTokens: null,
  status: 500,
  retryAfterSeconds: null,
  usageShape: 'openai',
  splitBytes: null,
  headers: Object.freeze({}),
})

/** A `hang` that nobody gives up on ends here: no connection is kept for ever. */
export const hangMsMax = 15 * 60_000
