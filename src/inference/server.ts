/**
 * The model as an OpenAI-compatible HTTP server: three POST endpoints over whatever `ModelHost` it is given. To the
 * gateway it is an upstream like any other, so cancelling is closing the connection, back-pressure is TCP's, and a crash
 * is a connection reset.
 *
 * Promises: one generation at a time a model, a bounded queue before it, and nothing computed for a caller who has left.
 */
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { setImmediate } from 'node:timers/promises'
import { type AnswerRequest, answer } from './answer.ts'
import type { ChatModel, EmbeddingModel, ModelHost } from './model.ts'
import { createQueue, type Queue } from './queue.ts'
import { refuse, toRefusal } from './refusal.ts'
import {
  chatShape,
  completionShape,
  createEventStream,
  sendJson,
  sendRefusal,
  type TextShape,
  usageOf,
} from './reply.ts'
import {
  type Body,
  type ChatRequest,
  type CompletionRequest,
  parseChat,
  parseCompletion,
  parseEmbeddings,
} from './request.ts'

export type ModelServerOptions = {
  readonly host: ModelHost
  /** How many requests may wait for one model. */
  readonly queueMax: number
  readonly logError: (message: string) => void
}

type Call = { readonly body: Body; readonly response: ServerResponse; readonly signal: AbortSignal }
type Handle = (server: ModelServerState, call: Call) => Promise<void>
type ModelServerState = ModelServerOptions & { readonly queues: Map<string, Queue> }

const bodyBytesMax = 4 * 1024 * 1024
const bodyMs = 30_000
const headersMs = 10_000
/** No token of a common vocabulary is longer, so a text with more characters a token cannot fit; it is not even tokenized. */
const charactersPerTokenMax = 64

const queueOf = ({ queues, queueMax }: ModelServerState, model: string): Queue => {
  const queue = queues.get(model) ?? createQueue(queueMax)
  queues.set(model, queue)
  return queue
}

const loadChat = async (host: ModelHost, name: string): Promise<ChatModel> => {
  const model = await host.load(name)
  if (model.kind !== 'chat') throw refuse.wrongKind(name, '/v1/embeddings')
  return model
}

const loadEmbeddings = async (host: ModelHost, name: string): Promise<EmbeddingModel> => {
  const model = await host.load(name)
  if (model.kind !== 'embeddings') throw refuse.wrongKind(name, '/v1/chat/completions or /v1/completions')
  return model
}

type Param = 'messages' | 'prompt' | 'input'

const requirePlausibleLength = (characters: number, contextTokensMax: number, param: Param): void => {
  const tokensAtLeast = Math.ceil(characters / charactersPerTokenMax)
  if (tokensAtLeast > contextTokensMax) throw refuse.contextTooLong(contextTokensMax, tokensAtLeast, param)
}

/** The prompt's tokens, if at least one more fits behind them. */
const encode = (model: ChatModel, request: ChatRequest | CompletionRequest): readonly number[] => {
  const { contextTokensMax } = model.card
  const param = 'messages' in request ? 'messages' : 'prompt'
  const texts = 'messages' in request ? request.messages.map(({ content }) => content) : [request.prompt]
  requirePlausibleLength(
    texts.reduce((sum, text) => sum + text.length, 0),
    contextTokensMax,
    param,
  )
  const tokens = 'messages' in request ? model.encodeChat(request.messages) : model.encodeText(request.prompt)
  if (tokens.length >= contextTokensMax) throw refuse.contextTooLong(contextTokensMax, tokens.length, param)
  return tokens
}

/** An upper bound is a bound, not a wish: what the context cannot hold is cut, and ends with `length`. */
const outputBound = (model: ChatModel, promptTokens: number, asked: number | null): number => {
  const { contextTokensMax, outputTokensMax } = model.card
  return Math.min(asked ?? outputTokensMax, outputTokensMax, contextTokensMax - promptTokens)
}

type TextCall = {
  readonly model: ChatModel
  readonly request: ChatRequest | CompletionRequest
  readonly generation: AnswerRequest
  readonly shape: TextShape
  readonly call: Call
}

const newId = (prefix: string): string => prefix + randomUUID().replaceAll('-', '')
const now = (): number => Math.floor(Date.now() / 1000)

const replyWhole = async ({ model, generation, shape, call }: TextCall): Promise<void> => {
  const whole = await answer(model, generation, call.signal, async () => undefined)
  sendJson(call.response, 200, {
    id: newId(shape.idPrefix),
    object: shape.object,
    created: now(),
    model: model.card.name,
    choices: [shape.choice(whole)],
    usage: usageOf(generation.prompt.length, whole.outputTokens),
    system_fingerprint: null,
  })
}

const replyStream = async ({ model, request, generation, shape, call }: TextCall): Promise<void> => {
  const { includeUsage } = request
  const head = { id: newId(shape.idPrefix), object: shape.chunkObject, created: now(), model: model.card.name }
  const stream = createEventStream(call.response)
  const chunk = (choice: object): Promise<void> =>
    stream.event({ ...head, system_fingerprint: null, choices: [choice], ...(includeUsage ? { usage: null } : {}) })
  if (shape.opening !== null) await chunk(shape.opening)
  const { finishReason, outputTokens } = await answer(model, generation, call.signal, text => chunk(shape.delta(text)))
  await chunk(shape.closing(finishReason))
  const usage = usageOf(generation.prompt.length, outputTokens)
  if (includeUsage) await stream.event({ ...head, system_fingerprint: null, choices: [], usage })
  await stream.end()
}

const handleText =
  (parse: (body: Body) => ChatRequest | CompletionRequest, shape: TextShape): Handle =>
  async (server, call) => {
    const request = parse(call.body)
    const model = await loadChat(server.host, request.model)
    const prompt = encode(model, request)
    const outputTokensMax = outputBound(model, prompt.length, request.outputTokensMax)
    const generation = { prompt, outputTokensMax, sampling: request.sampling, stop: request.stop }
    const textCall = { model, request, generation, shape, call }
    await queueOf(server, request.model).run(call.signal, () =>
      request.stream ? replyStream(textCall) : replyWhole(textCall),
    )
  }

const base64Of = (vector: Float32Array): string => {
  const bytes = Buffer.alloc(vector.length * 4)
  for (const [index, value] of vector.entries()) bytes.writeFloatLE(value, index * 4)
  return bytes.toString('base64')
}

const requireInputsFit = async (model: EmbeddingModel, inputs: readonly string[]): Promise<number> => {
  const { contextTokensMax } = model.card
  let total = 0
  for (const input of inputs) {
    // counting thousands of texts takes a second: other calls get their turn in between
    await setImmediate()
    requirePlausibleLength(input.length, contextTokensMax, 'input')
    const tokens = model.countTokens(input)
    if (tokens > contextTokensMax) throw refuse.contextTooLong(contextTokensMax, tokens, 'input')
    total += tokens
  }
  return total
}

const handleEmbeddings: Handle = async (server, { body, response, signal }) => {
  const request = parseEmbeddings(body)
  const model = await loadEmbeddings(server.host, request.model)
  const { dimensions } = model.card
  if (request.dimensions !== null && request.dimensions !== dimensions) {
    throw refuse.badValue('dimensions', `this model has ${dimensions} and cannot shorten them.`)
  }
  const tokens = await requireInputsFit(model, request.input)
  const vectors = await queueOf(server, request.model).run(signal, () => embedAll(model, request.input, signal))
  const format = request.encodingFormat === 'base64' ? base64Of : (vector: Float32Array) => [...vector]
  sendJson(response, 200, {
    object: 'list',
    data: vectors.map((vector, index) => ({ object: 'embedding', index, embedding: format(vector) })),
    model: model.card.name,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  })
}

const embedAll = async (model: EmbeddingModel, inputs: readonly string[], signal: AbortSignal) => {
  const vectors: Float32Array[] = []
  for (const input of inputs) {
    signal.throwIfAborted()
    vectors.push(await model.embed(input))
  }
  return vectors
}

const routes: Readonly<Record<string, Handle>> = {
  'POST /v1/chat/completions': handleText(parseChat, chatShape),
  'POST /v1/completions': handleText(parseCompletion, completionShape),
  'POST /v1/embeddings': handleEmbeddings,
}

const readBody = async (request: IncomingMessage): Promise<Body> => {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += chunk.length
    if (bytes > bodyBytesMax) throw refuse.bodyTooLarge(bodyBytesMax)
    chunks.push(chunk)
  }
  return parseBody(Buffer.concat(chunks).toString('utf8'))
}

const parseBody = (text: string): Body => {
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    throw refuse.badJson()
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw refuse.badJson()
  // any object; each field is checked when it is read
  return body as Body
}

/** Aborts when the connection ends before the answer has. */
const leaving = (response: ServerResponse): AbortSignal => {
  const controller = new AbortController()
  response.once('close', () => {
    if (!response.writableFinished) controller.abort(new Error('the caller has left'))
  })
  return controller.signal
}

const serve = async (state: ModelServerState, request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const signal = leaving(response)
  try {
    const path = (request.url ?? '').split('?')[0] ?? ''
    const handle = routes[`${request.method} ${path}`]
    if (handle === undefined) throw refuse.badUrl(request.method ?? '', path)
    await handle(state, { body: await readBody(request), response, signal })
  } catch (error) {
    if (signal.aborted) return
    const refusal = toRefusal(error)
    if (refusal.refusal.status === 500) state.logError(`a request failed: ${String(refusal.cause)}`)
    sendRefusal(response, refusal)
  }
}

/** The server, not yet listening. */
export const createModelServer = (options: ModelServerOptions): Server => {
  const state = { ...options, queues: new Map<string, Queue>() }
  const server = createServer((request, response) => void serve(state, request, response))
  server.requestTimeout = bodyMs
  server.headersTimeout = headersMs
  // the gateway keeps its connections; a limit here would reset one just as it is used
  server.keepAliveTimeout = 0
  return server
}
