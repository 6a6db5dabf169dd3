/** What the model server asks of whatever runs the model: llama.cpp in `llama.ts`, something instant in tests. */
import type { ModelCard } from './catalog.ts'

export type ChatMessage = { readonly role: 'system' | 'user' | 'assistant'; readonly content: string }

export type Sampling = {
  /** 0 always takes the likeliest token. */
  readonly temperature: number
  readonly topP: number
  /** 32 bits, unsigned. */
  readonly seed: number
  readonly frequencyPenalty: number
  readonly presencePenalty: number
  /** GBNF that the output must follow, or `null`. */
  readonly grammar: string | null
}

export type ChatModel = {
  readonly kind: 'chat'
  readonly card: ModelCard
  /** The tokens of a conversation in the model's own template, up to where its answer begins. */
  readonly encodeChat: (messages: readonly ChatMessage[]) => readonly number[]
  readonly encodeText: (text: string) => readonly number[]
  /**
   * One string a generated token, empty while a character is incomplete; ends when the model ends.
   * Stops within one step when `signal` aborts. One call at a time.
   */
  readonly generate: (prompt: readonly number[], sampling: Sampling, signal: AbortSignal) => AsyncIterable<string>
}

export type EmbeddingModel = {
  readonly kind: 'embeddings'
  readonly card: ModelCard
  readonly countTokens: (text: string) => number
  /** Of length 1. One call at a time. */
  readonly embed: (text: string) => Promise<Float32Array>
}

export type LocalModel = ChatModel | EmbeddingModel

/** Loads a model by name, or throws a refusal. */
export type ModelHost = { readonly load: (name: string) => Promise<LocalModel> }
