/** The loop around a generation: counts tokens, looks for stop strings across chunk borders, and ends at the limit. */
import type { ChatModel, Sampling } from './model.ts'

export type AnswerRequest = {
  readonly prompt: readonly number[]
  readonly sampling: Sampling
  readonly stop: readonly string[]
  /** At least 1. */
  readonly outputTokensMax: number
}

export type Answer = {
  readonly text: string
  readonly outputTokens: number
  readonly finishReason: 'stop' | 'length'
}

/**
 * Passes text on as soon as it cannot be the beginning of a stop string any more. The stop string itself, and what
 * follows it, never leaves.
 */
export const createStopScanner = (stops: readonly string[]) => {
  let held = ''
  const push = (text: string): { text: string; stopped: boolean } => {
    held += text
    const found = stops.map(stop => held.indexOf(stop)).filter(at => at !== -1)
    if (found.length > 0) return { text: held.slice(0, Math.min(...found)), stopped: true }
    const safe = held.length - longestBeginning(held, stops)
    const out = held.slice(0, safe)
    held = held.slice(safe)
    return { text: out, stopped: false }
  }
  return { push, rest: (): string => held }
}

/** Length of the longest end of `text` that some stop string begins with. */
const longestBeginning = (text: string, stops: readonly string[]): number => {
  let longest = 0
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(stop.slice(0, length))) longest = length
    }
  }
  return longest
}

/** Runs one generation. `onText` is awaited, so a slow reader slows the model down instead of filling memory. */
export const answer = async (
  model: ChatModel,
  request: AnswerRequest,
  signal: AbortSignal,
  onText: (text: string) => Promise<void>,
): Promise<Answer> => {
  const scanner = createStopScanner(request.stop)
  let text = ''
  let outputTokens = 0
  const emit = async (piece: string): Promise<void> => {
    text += piece
    if (piece !== '') await onText(piece)
  }
  for await (const piece of model.generate(request.prompt, request.sampling, signal)) {
    outputTokens += 1
    const scanned = scanner.push(piece)
    await emit(scanned.text)
    if (scanned.stopped) return { text, outputTokens, finishReason: 'stop' }
    if (outputTokens >= request.outputTokensMax) {
      await emit(scanner.rest())
      return { text, outputTokens, finishReason: 'length' }
    }
  }
  signal.throwIfAborted()
  await emit(scanner.rest())
  return { text, outputTokens, finishReason: 'stop' }
}
