/**
 * Runs models with llama.cpp through node-llama-cpp. The library is not a dependency of ours: it is pulled into the data
 * directory and imported from there, so the little that we use of it is described here by hand.
 *
 * The one thing to get right is threads: left to itself the library starts more of them than there are cores, and a token
 * then takes seconds instead of a tenth of one.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ModelCard } from './catalog.ts'
import type { ChatMessage, ChatModel, EmbeddingModel, LocalModel, ModelHost, Sampling } from './model.ts'
import { engineFolder, readCard, weightsFile } from './model-folder.ts'
import { refuse } from './refusal.ts'

type Token = number

type EvaluateOptions = {
  temperature: number
  topK: number
  topP: number
  seed: number
  grammarEvaluationState?: object
  repeatPenalty?: {
    punishTokens: () => Token[]
    maxPunishTokens: number
    penalty: number
    frequencyPenalty: number
    presencePenalty: number
  }
}

type Sequence = {
  clearHistory: () => Promise<void>
  evaluateWithoutGeneratingNewTokens: (tokens: Token[]) => Promise<void>
  evaluate: (tokens: Token[], options: EvaluateOptions) => AsyncGenerator<Token, void, void>
}

type LlamaModel = {
  tokenizer: object
  tokens: { bos: Token | null; shouldPrependBosToken: boolean }
  tokenize: (text: string, specialTokens: boolean) => Token[]
  detokenize: (tokens: readonly Token[], specialTokens: boolean, lastTokens: readonly Token[]) => string
  createContext: (options: {
    contextSize: number
    batchSize: number
    threads: number
  }) => Promise<{ getSequence: () => Sequence }>
  createEmbeddingContext: (options: {
    contextSize: number
    batchSize: number
    threads: number
  }) => Promise<EmbeddingContext>
}

type EmbeddingContext = {
  calculateInputLength: (text: string) => number
  getEmbeddingFor: (text: string) => Promise<{ vector: readonly number[] }>
}

type Llama = {
  loadModel: (options: { modelPath: string; gpuLayers: 0 }) => Promise<LlamaModel>
  createGrammar: (options: { grammar: string }) => Promise<object>
}

type ChatItem = { type: 'system' | 'user'; text: string } | { type: 'model'; response: string[] }

type ChatWrapper = {
  generateContextState: (state: { chatHistory: ChatItem[] }) => {
    contextText: { tokenize: (tokenizer: object) => Token[] }
  }
}

type Library = {
  getLlama: (options: {
    gpu: false
    build: 'never'
    skipDownload: true
    progressLogs: false
    maxThreads: number
    logLevel: 'error'
    logger: (level: string, message: string) => void
  }) => Promise<Llama>
  resolveChatWrapper: (model: LlamaModel, options: { warningLogs: false }) => ChatWrapper
  LlamaGrammarEvaluationState: new (options: { model: LlamaModel; grammar: object }) => object
}

type Engine = { readonly library: Library; readonly llama: Llama; readonly threads: number; readonly models: string }

/** Below this size more threads cost more than they bring: they wait for each other after every layer. */
const smallWeightsBytes = 100_000_000
/** The prompt is read in pieces of this many tokens, so that a caller who leaves frees the model within half a second. */
const promptPieceTokens = 64
const topK = 40
/** Enough for the detokenizer to know whether a space is due, and for the longest UTF-8 character in byte tokens. */
const tailTokens = 8
const characterTokensMax = 4
/** How far back the penalties look. */
const penaltyTokensMax = 256
/** llama.cpp keeps one position for itself, and rounds up. */
const spareTokens = 256

const threadsFor = (card: ModelCard, threads: number): number => (card.bytes < smallWeightsBytes ? 1 : threads)

const toItem = ({ role, content }: ChatMessage): ChatItem =>
  role === 'assistant' ? { type: 'model', response: [content] } : { type: role, text: content }

/** Turns tokens into text one at a time; holds back the bytes of a character until it is whole. */
const createTextStream = (model: LlamaModel, prompt: readonly Token[]) => {
  let last = prompt.slice(-tailTokens)
  let pending: Token[] = []
  return (token: Token): string => {
    pending.push(token)
    const text = model.detokenize(pending, false, last)
    if (text.endsWith('\ufffd') && pending.length < characterTokensMax) return ''
    last = [...last, ...pending].slice(-tailTokens)
    pending = []
    return text
  }
}

const penaltiesOf = (sampling: Sampling, generated: readonly Token[]): Pick<EvaluateOptions, 'repeatPenalty'> => {
  const { frequencyPenalty, presencePenalty } = sampling
  if (frequencyPenalty === 0 && presencePenalty === 0) return {}
  const punishTokens = (): Token[] => generated.slice(-penaltyTokensMax)
  return {
    repeatPenalty: { punishTokens, maxPunishTokens: penaltyTokensMax, penalty: 1, frequencyPenalty, presencePenalty },
  }
}

const grammarOf = async (engine: Engine, model: LlamaModel, text: string | null) => {
  if (text === null) return {}
  try {
    const grammar = await engine.llama.createGrammar({ grammar: text })
    return { grammarEvaluationState: new engine.library.LlamaGrammarEvaluationState({ model, grammar }) }
  } catch {
    throw refuse.badValue('response_format', 'the schema refers to itself without end, or is too large for this model.')
  }
}

const createChatModel = async (engine: Engine, card: ModelCard, model: LlamaModel): Promise<ChatModel> => {
  const context = await model.createContext({
    contextSize: card.contextTokensMax,
    batchSize: promptPieceTokens,
    threads: threadsFor(card, engine.threads),
  })
  const sequence = context.getSequence()
  const wrapper = engine.library.resolveChatWrapper(model, { warningLogs: false })
  // many templates leave out the token that every text began with in training; llama.cpp's own server adds it too
  const begin = model.tokens.shouldPrependBosToken && model.tokens.bos !== null ? [model.tokens.bos] : []

  const encodeText = (text: string): Token[] => [...begin, ...model.tokenize(text, false)]

  const encodeChat = (messages: readonly ChatMessage[]): Token[] => {
    // the empty answer at the end opens the assistant's turn; the template decides what that looks like
    const chatHistory: ChatItem[] = [...messages.map(toItem), { type: 'model', response: [] }]
    const tokens = wrapper.generateContextState({ chatHistory }).contextText.tokenize(model.tokenizer)
    return begin.length > 0 && tokens[0] !== begin[0] ? [...begin, ...tokens] : tokens
  }

  /** Reads all of the prompt but its last piece, which `evaluate` takes. */
  const readPrompt = async (prompt: readonly Token[], signal: AbortSignal): Promise<Token[]> => {
    // Always from the beginning: reusing what the last call left would be faster, but rounds differently, and then the
    // same seed would not give the same answer.
    await sequence.clearHistory()
    let at = 0
    for (; prompt.length - at > promptPieceTokens; at += promptPieceTokens) {
      signal.throwIfAborted()
      await sequence.evaluateWithoutGeneratingNewTokens(prompt.slice(at, at + promptPieceTokens))
    }
    return prompt.slice(at)
  }

  async function* generate(prompt: readonly Token[], sampling: Sampling, signal: AbortSignal): AsyncGenerator<string> {
    const generated: Token[] = []
    const toText = createTextStream(model, prompt)
    const grammar = await grammarOf(engine, model, sampling.grammar)
    const rest = await readPrompt(prompt, signal)
    const { temperature, topP, seed } = sampling
    const options = { temperature, topP, seed, topK, ...grammar, ...penaltiesOf(sampling, generated) }
    for await (const token of sequence.evaluate(rest, options)) {
      if (signal.aborted) return
      generated.push(token)
      yield toText(token)
    }
  }

  return { kind: 'chat', card, encodeChat, encodeText, generate }
}

const normalise = (vector: readonly number[]): Float32Array => {
  const length = Math.hypot(...vector)
  return Float32Array.from(vector, value => value / length)
}

const createEmbeddingModel = async (engine: Engine, card: ModelCard, model: LlamaModel): Promise<EmbeddingModel> => {
  const context = await model.createEmbeddingContext({
    contextSize: card.contextTokensMax + spareTokens,
    // the whole text in one piece: each token looks at all the others
    batchSize: card.contextTokensMax,
    threads: threadsFor(card, engine.threads),
  })
  return {
    kind: 'embeddings',
    card,
    countTokens: text => context.calculateInputLength(text),
    embed: async text => normalise((await context.getEmbeddingFor(text)).vector),
  }
}

export type LlamaOptions = {
  readonly models: string
  readonly threads: number
  readonly logError: (message: string) => void
}

const startEngine = async ({ models, threads, logError }: LlamaOptions): Promise<Engine> => {
  const entry = join(engineFolder(models), 'node_modules', 'node-llama-cpp', 'dist', 'index.js')
  // pinned by hash in engine/package-lock.json, so it has the shape that is written down above
  const library = (await import(pathToFileURL(entry).href)) as Library
  const llama = await library.getLlama({
    gpu: false,
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    maxThreads: threads,
    logLevel: 'error',
    logger: (_level, message) => logError(message),
  })
  return { library, llama, threads, models }
}

const loadModel = async (engine: Engine, card: ModelCard): Promise<LocalModel> => {
  const model = await engine.llama.loadModel({ modelPath: weightsFile(engine.models, card.name), gpuLayers: 0 })
  return card.kind === 'chat' ? createChatModel(engine, card, model) : createEmbeddingModel(engine, card, model)
}

/** Loads engine and models when they are first asked for, and keeps them. What failed is tried again by the next call. */
export const createLlamaHost = (options: LlamaOptions): ModelHost => {
  let engine: Promise<Engine> | undefined
  const loaded = new Map<string, Promise<LocalModel>>()

  const load = async (card: ModelCard): Promise<LocalModel> => {
    engine ??= startEngine(options)
    try {
      return await loadModel(await engine, card)
    } catch (error) {
      loaded.delete(card.sha256)
      if (
        await engine.then(
          () => false,
          () => true,
        )
      )
        engine = undefined
      options.logError(`${card.name} could not be loaded: ${String(error)}`)
      throw refuse.loadFailed(card.name, error)
    }
  }

  return {
    load: async name => {
      const card = readCard(options.models, name)
      if (card === null) throw refuse.unknownModel(name)
      // by hash, so that weights which were replaced are loaded anew
      const model = loaded.get(card.sha256) ?? load(card)
      loaded.set(card.sha256, model)
      return model
    },
  }
}
