import type { Choice, Reply } from './reply.ts'
import { usageAfter } from './reply.ts'

/**
 * The two generating endpoints of OpenAI as tables of shapes: what a choice looks like whole, and in the first, a middle and
 * the last chunk of a stream.
 */
export interface Wire {
  readonly idPrefix: string
  /** `object` of the whole answer, and of a chunk. */
  readonly object: string
  readonly chunkObject: string
  /** Fields of the envelope that only this endpoint has. */
  readonly envelope: Readonly<Record<string, string>>
  whole(choice: Choice): object
  /** The chunk before the first token; null where the endpoint has none. */
  first: ((choice: Choice) => object) | null
  token(choice: Choice, text: string): object
  last(choice: Choice): object
}

/** When every fake answer was made: the same request gets the same bytes on any day (2026-01-01T00:00:00Z). */
export const fakeCreatedAt = 1_767_225_600

export const chatWire: Wire = {
  idPrefix: 'chatcmpl-fake-',
  object: 'chat.completion',
  chunkObject: 'chat.completion.chunk',
  envelope: { service_tier: 'default' },
  whole: ({ index, tokens, finishReason }) => ({
    index,
    message: { role: 'assistant', content: tokens.join(''), refusal: null, annotations: [] },
    logprobs: null,
    finish_reason: finishReason,
  }),
  first: choice => chatChunk(choice, { role: 'assistant', content: '', refusal: null }, null),
  token: (choice, text) => chatChunk(choice, { content: text }, null),
  last: choice => chatChunk(choice, {}, choice.finishReason),
}

export const completionWire: Wire = {
  idPrefix: 'cmpl-fake-',
  object: 'text_completion',
  chunkObject: 'text_completion',
  envelope: {},
  whole: choice => completionChoice(choice, choice.tokens.join(''), choice.finishReason),
  first: null,
  token: (choice, text) => completionChoice(choice, text, null),
  last: choice => completionChoice(choice, '', choice.finishReason),
}

/** The whole answer of a unary call; the last field is `usage`, unless it is to be absent. */
export function wholeReply(wire: Wire, id: string, reply: Reply, withUsage: boolean): object {
  return {
    ...envelope(wire, id, wire.object, reply.model),
    choices: reply.choices.map(choice => wire.whole(choice)),
    ...(withUsage ? { usage: usageAfter(reply, reply.visibleTokens) } : {}),
  }
}

/** What all chunks of a stream share, as the open beginning of their JSON: `{"id":…,"choices":`. */
export function chunkHead(wire: Wire, id: string, reply: Reply): string {
  return `${JSON.stringify(envelope(wire, id, wire.chunkObject, reply.model)).slice(0, -1)},"choices":`
}

function envelope(wire: Wire, id: string, object: string, model: string): object {
  const created = fakeCreatedAt
  return { id: wire.idPrefix + id, object, created, model, ...wire.envelope, system_fingerprint: 'fp_keyhouse_fake' }
}

function chatChunk(choice: Choice, delta: object, finishReason: string | null): object {
  return { index: choice.index, delta, logprobs: null, finish_reason: finishReason }
}

function completionChoice(choice: Choice, text: string, finishReason: string | null): object {
  return { text, index: choice.index, logprobs: null, finish_reason: finishReason }
}
