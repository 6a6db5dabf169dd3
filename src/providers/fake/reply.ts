import type { Behaviour, FinishReason } from './behaviour.ts'
import type { Asked, Prompt } from './request.ts'

/**
 * What the fake model says, and what it says that it used. Pure: the same request and behaviour give the same reply.
 * A token is a word with the white space before it, so that joining the tokens gives the text.
 */

export interface Choice {
  readonly index: number
  readonly tokens: readonly string[]
  readonly finishReason: FinishReason
}

export interface Reply {
  readonly model: string
  readonly choices: readonly Choice[]
  readonly promptTokens: number
  readonly cachedTokens: number
  /** Of all choices together. */
  readonly reasoningTokens: number
  /** Of all choices together, without reasoning. */
  readonly visibleTokens: number
}

/** Usage on the wire, as `/v1/chat/completions` and `/v1/completions` write it. */
export interface WireUsage {
  readonly prompt_tokens: number
  readonly completion_tokens: number
  readonly total_tokens: number
  readonly prompt_tokens_details: { readonly cached_tokens: number; readonly audio_tokens: 0 }
  readonly completion_tokens_details: {
    readonly reasoning_tokens: number
    readonly audio_tokens: 0
    readonly accepted_prediction_tokens: 0
    readonly rejected_prediction_tokens: 0
  }
}

/** Longer prompts are repeated in part: a fake must not answer a megabyte with a megabyte. */
const repeatedCharsMax = 2_000

const opening = "This is a test reply from Keyhouse's fake provider. You said: "

export function replyTo(asked: Asked, behaviour: Behaviour): Reply {
  const reasoningEach = Math.min(behaviour.reasoningTokens, asked.outputTokensMax)
  const room = asked.outputTokensMax - reasoningEach
  const choices = asked.prompts
    .flatMap(prompt => Array<Prompt>(asked.choicesEach).fill(prompt))
    .map((prompt, index) => choose(index, cutAtStop(tokensFor(prompt, behaviour), asked.stops), room, behaviour))
  const promptTokens = behaviour.promptTokens ?? sum(asked.prompts.map(prompt => prompt.tokens))
  return {
    model: asked.model,
    choices,
    promptTokens,
    cachedTokens: Math.min(behaviour.cachedTokens, promptTokens),
    reasoningTokens: reasoningEach * choices.length,
    visibleTokens: sum(choices.map(choice => choice.tokens.length)),
  }
}

/** Usage after so many visible tokens; reasoning comes before the first of them. */
export function usageAfter(reply: Reply, visibleTokens: number): WireUsage {
  const completionTokens = visibleTokens + reply.reasoningTokens
  return {
    prompt_tokens: reply.promptTokens,
    completion_tokens: completionTokens,
    total_tokens: reply.promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: reply.cachedTokens, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: reply.reasoningTokens,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  }
}

function choose(index: number, tokens: readonly string[], room: number, behaviour: Behaviour): Choice {
  const fits = tokens.length <= room
  return {
    index,
    tokens: fits ? tokens : tokens.slice(0, room),
    finishReason: behaviour.finishReason ?? (fits ? 'stop' : 'length'),
  }
}

function tokensFor(prompt: Prompt, behaviour: Behaviour): readonly string[] {
  const words = splitTokens(opening + shorten(prompt.text))
  const count = behaviour.outputTokens ?? words.length
  if (behaviour.chunkText !== null) return Array<string>(count).fill(behaviour.chunkText)
  return count === words.length ? words : repeatTo(count, words)
}

function shorten(text: string): string {
  return text.length <= repeatedCharsMax ? text : `${text.slice(0, repeatedCharsMax)} …`
}

function splitTokens(text: string): readonly string[] {
  // without white space at the end, which the pattern would try again from each of its characters
  return text.trimEnd().match(/\s*\S+/g) ?? []
}

/** So many of the words, from the start again (and parted by a space) when they run out. */
function repeatTo(count: number, words: readonly string[]): readonly string[] {
  return Array.from({ length: count }, (_, at) => {
    const word = words[at % words.length] ?? ''
    return at > 0 && at % words.length === 0 ? ` ${word}` : word
  })
}

/** The tokens before the first stop sequence; the one that it begins in is shortened. */
function cutAtStop(tokens: readonly string[], stops: readonly string[]): readonly string[] {
  if (stops.length === 0) return tokens
  const text = tokens.join('')
  const found = stops.map(stop => text.indexOf(stop)).filter(at => at >= 0)
  return found.length === 0 ? tokens : takeChars(tokens, Math.min(...found))
}

function takeChars(tokens: readonly string[], chars: number): readonly string[] {
  const taken: string[] = []
  let left = chars
  for (const token of tokens) {
    if (left <= 0) break
    taken.push(token.slice(0, left))
    left -= token.length
  }
  return taken
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}
