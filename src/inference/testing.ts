/** For tests only: models that answer at once, and small files in the formats that pulls meet. */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import type { ModelCard } from './catalog.ts'
import { encodeGguf } from './gguf.ts'
import type { ChatModel, EmbeddingModel, ModelHost } from './model.ts'
import type { Log } from './model-process.ts'
import { refuse } from './refusal.ts'

const cardOf = (name: string, rest: Partial<ModelCard>): ModelCard => ({
  name,
  kind: 'chat',
  contextTokensMax: 32,
  outputTokensMax: 16,
  dimensions: null,
  licence: 'none',
  label: 'for tests',
  bytes: 1,
  sha256: '',
  ...rest,
})

/** What a test may watch and slow down. */
export type EchoOptions = {
  readonly tokenMs?: number
  readonly onStep?: () => void
  readonly onEnd?: () => void
  /** Added to every token. */
  readonly padding?: string
}

/** A word is a token; it answers with the words of the prompt, again and again. */
export const createEchoModel = ({ tokenMs = 0, onStep, onEnd, padding = ' ' }: EchoOptions = {}): ChatModel => {
  let words: string[] = []
  const encodeText = (text: string): number[] => {
    words = text.split(' ')
    return words.map((_word, index) => index)
  }
  async function* generate(prompt: readonly number[], _sampling: unknown, signal: AbortSignal) {
    const own = words.slice(0, prompt.length)
    try {
      for (let step = 0; !signal.aborted; step++) {
        await sleep(tokenMs)
        onStep?.()
        yield `${own[step % own.length]}${padding}`
      }
    } finally {
      onEnd?.()
    }
  }
  const encodeChat: ChatModel['encodeChat'] = messages => encodeText(messages.map(({ content }) => content).join(' '))
  return { kind: 'chat', card: cardOf('echo', {}), encodeChat, encodeText, generate }
}

/** Three numbers, the first of which is the text's length. */
const createLengthModel = (): EmbeddingModel => ({
  kind: 'embeddings',
  card: cardOf('length', { kind: 'embeddings', dimensions: 3, contextTokensMax: 8 }),
  countTokens: text => text.split(' ').length,
  embed: async text => Float32Array.from([text.length, 0.5, -0.25]),
})

export const createEchoHost = (options: EchoOptions = {}): ModelHost => {
  const models = [createEchoModel(options), createLengthModel()]
  return {
    load: async name => {
      const found = models.find(model => model.card.name === name)
      if (found === undefined) throw refuse.unknownModel(name)
      return found
    },
  }
}

export const makeTempFolder = (): { path: string; remove: () => void } => {
  const path = mkdtempSync(join(tmpdir(), 'kh-inf-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

export const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** A GGUF file that says it is a small chat model, padded to `bytes`. */
export const smallGguf = (bytes = 10_000): Buffer => {
  const head = encodeGguf(
    {
      'general.architecture': { type: 'string', value: 'llama' },
      'general.name': { type: 'string', value: 'Tiny' },
      'llama.context_length': { type: 'u32', value: 512 },
    },
    [],
  )
  return Buffer.concat([...head, Buffer.alloc(bytes, 'x')])
}

const tarHeader = (path: string, bytes: number): Buffer => {
  const header = Buffer.alloc(512)
  header.write(path, 0)
  header.write(`${bytes.toString(8).padStart(11, '0')} `, 124)
  header.write('0', 156)
  header.write('ustar\0', 257)
  return header
}

/** A package as npm packs it, everything below `package/`. */
export const makeTarball = (files: Readonly<Record<string, Buffer>>): Buffer => {
  const parts = Object.entries(files).flatMap(([path, content]) => [
    tarHeader(`package/${path}`, content.length),
    content,
    Buffer.alloc((512 - (content.length % 512)) % 512),
  ])
  return gzipSync(Buffer.concat([...parts, Buffer.alloc(1024)]))
}

export const createTestLog = (): Log & { readonly lines: string[] } => {
  const lines: string[] = []
  const write = (details: object, message: string): void => void lines.push(`${message} ${JSON.stringify(details)}`)
  return { lines, info: write, warn: write, error: write }
}
