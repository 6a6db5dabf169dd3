import type { UsageShape } from './behaviour.ts'
import type { Choice, Reply, WireUsage } from './reply.ts'
import { usageAfter } from './reply.ts'
import type { Wire } from './wire.ts'
import { chunkHead } from './wire.ts'

/**
 * A reply as server-sent events, one string an event, made one by one as they are written: a stream of a million tokens
 * takes no more memory than one of ten. What does not change from chunk to chunk is turned into JSON once per stream.
 */

/** How one shape of usage rides on a stream: what follows `choices` in a chunk, and whether a chunk of its own follows. */
interface UsagePlacement {
  /** On a chunk after so many visible tokens. */
  onChunk(visibleTokens: number): string
  /** On the chunk with the last finish reason. */
  onLast(): string
  readonly ownChunk: boolean
}

type Frame = (json: string) => string

export interface StreamedReply {
  readonly wire: Wire
  readonly id: string
  readonly reply: Reply
  readonly usageShape: UsageShape
  /** The caller's `stream_options.include_usage`. */
  readonly usageAsked: boolean
}

export function* streamEvents(streamed: StreamedReply): Generator<string> {
  const { wire, reply, usageShape } = streamed
  const frame = frames[usageShape]
  const head = chunkHead(wire, streamed.id, reply)
  const placement = placements[usageShape](reply, streamed.usageAsked)
  const event = (choice: object, usage: string) => frame(`${head}[${JSON.stringify(choice)}]${usage}}`)

  if (wire.first) for (const choice of reply.choices) yield event(wire.first(choice), placement.onChunk(0))
  let visibleTokens = 0
  for (const { choice, text } of interleaved(reply.choices)) {
    visibleTokens += 1
    yield event(wire.token(choice, text), placement.onChunk(visibleTokens))
  }
  for (const choice of reply.choices) {
    const isLast = choice.index === reply.choices.length - 1
    yield event(wire.last(choice), isLast ? placement.onLast() : placement.onChunk(visibleTokens))
  }
  if (placement.ownChunk) yield frame(`${head}[]${usageField(usageAfter(reply, visibleTokens))}}`)
  yield frame('[DONE]')
}

/** How many events of a stream precede its first token. */
export function eventsBeforeTokens(wire: Wire, reply: Reply): number {
  return wire.first ? reply.choices.length : 0
}

/** An event whose data breaks off within the JSON. */
export function brokenEvent(usageShape: UsageShape): string {
  return `data: {"id":"broken on purpose by Keyhouse's fake prov${usageShape === 'spaced' ? '\r\n\r\n' : '\n\n'}`
}

/** The same JSON with a space after every colon and comma, as Python writes it. */
export function respaced(json: string): string {
  // JSON.stringify never leaves a raw line break inside a string, so each one here is its own indentation
  return JSON.stringify(JSON.parse(json), null, 1).replace(/\n\s*/g, ' ')
}

/** First token of every choice, second token of every choice, …, as parallel sampling sends them. */
function* interleaved(choices: readonly Choice[]): Generator<{ choice: Choice; text: string }> {
  const longest = Math.max(...choices.map(choice => choice.tokens.length))
  for (let at = 0; at < longest; at++) {
    for (const choice of choices) {
      const text = choice.tokens[at]
      if (text !== undefined) yield { choice, text }
    }
  }
}

const plainFrame: Frame = json => `data: ${json}\n\n`

const frames: Record<UsageShape, Frame> = {
  openai: plainFrame,
  absent: plainFrame,
  'every-chunk': plainFrame,
  'with-choices': plainFrame,
  spaced: json => `data: ${json === '[DONE]' ? json : respaced(json)}\r\n\r\n`,
}

const placements: Record<UsageShape, (reply: Reply, asked: boolean) => UsagePlacement> = {
  openai: asOpenai,
  spaced: asOpenai,
  absent: () => ({ onChunk: () => '', onLast: () => '', ownChunk: false }),
  'every-chunk': reply => ({
    onChunk: visibleTokens => usageField(usageAfter(reply, visibleTokens)),
    onLast: () => usageField(usageAfter(reply, reply.visibleTokens)),
    ownChunk: false,
  }),
  'with-choices': reply => ({
    onChunk: () => '',
    onLast: () => usageField(usageAfter(reply, reply.visibleTokens)),
    ownChunk: false,
  }),
}

function asOpenai(_reply: Reply, asked: boolean): UsagePlacement {
  const none = asked ? usageField(null) : ''
  return { onChunk: () => none, onLast: () => none, ownChunk: asked }
}

function usageField(usage: WireUsage | null): string {
  return `,"usage":${JSON.stringify(usage)}`
}
