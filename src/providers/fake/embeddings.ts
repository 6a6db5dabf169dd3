import { hash } from 'node:crypto'
import type { Behaviour } from './behaviour.ts'
import { Refusal } from './refusal.ts'
import type { FakeRequest } from './request.ts'
import { readInteger, readPrompts } from './request.ts'

/**
 * `POST /v1/embeddings`: a unit vector made from a hash of the text. The same text gives the same vector, other texts give
 * unrelated ones, and a shorter vector is the beginning of a longer one, normalised again, as OpenAI shortens them.
 */

const dimensionsDefault = 16
const dimensionsMin = 8
const dimensionsMax = 1_536
/** OpenAI's own bound of inputs per call. */
const inputsMax = 2_048
/** Inputs × dimensions. Ours, not OpenAI's: the fake shares its event loop with the server, so no call may hold it long. */
const numbersMax = 262_144

/** The whole answer. @throws Refusal 400 naming the field that is wrong. */
export function embeddingsReply(body: FakeRequest['body'], behaviour: Behaviour): object {
  const prompts = readPrompts(body.input, 'input')
  if (prompts.length > inputsMax) throw new Refusal(400, `'input' may have at most ${inputsMax} entries.`, 'input')
  const dimensions = readInteger(body, 'dimensions', dimensionsMin, dimensionsMax) ?? dimensionsDefault
  if (prompts.length * dimensions > numbersMax) {
    throw new Refusal(400, `Keyhouse's fake provider makes at most ${numbersMax} numbers: send fewer inputs.`, 'input')
  }
  const encode = readEncoding(body.encoding_format)
  const tokens = behaviour.promptTokens ?? prompts.reduce((total, prompt) => total + prompt.tokens, 0)
  return {
    object: 'list',
    data: prompts.map(({ text }, index) => ({
      object: 'embedding',
      index,
      embedding: encode(unitVector(text, dimensions)),
    })),
    model: body.model,
    ...(behaviour.usageShape === 'absent' ? {} : { usage: { prompt_tokens: tokens, total_tokens: tokens } }),
  }
}

/** A vector of length 1. */
function unitVector(text: string, dimensions: number): Float32Array {
  const random = randomFrom(Number.parseInt(hash('sha256', text, 'hex').slice(0, 8), 16))
  const vector = new Float32Array(dimensions).map(() => random() - 0.5)
  const length = Math.hypot(...vector)
  return vector.map(value => value / length)
}

/** Numbers in [0, 1) that follow from the seed: Marsaglia's xorshift with 32 bits (Xorshift RNGs, 2003). */
function randomFrom(seed: number): () => number {
  let state = seed || 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

function readEncoding(format: unknown): (vector: Float32Array) => string | number[] {
  const encode = encodings.get(format ?? 'float')
  if (!encode) throw new Refusal(400, "'encoding_format' must be 'float' or 'base64'.", 'encoding_format')
  return encode
}

const encodings = new Map<unknown, (vector: Float32Array) => string | number[]>([
  ['float', vector => Array.from(vector)],
  ['base64', vector => Buffer.from(vector.buffer).toString('base64')],
])
