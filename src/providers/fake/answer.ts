import { hash } from 'node:crypto'
import type { Behaviour, Fault } from './behaviour.ts'
import { embeddingsReply } from './embeddings.ts'
import { brokenEvent, eventsBeforeTokens, respaced, streamEvents } from './events.ts'
import { fakeModelPrefix, fakeModels, findFakeModel } from './models.ts'
import { Refusal, refusalBody, rehearsedRefusal } from './refusal.ts'
import { replyTo } from './reply.ts'
import type { Asked, FakeRequest } from './request.ts'
import { readChat, readCompletion } from './request.ts'
import type { Wire } from './wire.ts'
import { chatWire, completionWire, fakeCreatedAt, wholeReply } from './wire.ts'

/**
 * From a request and a behaviour to what goes onto the wire, still without any I/O. The faults that leave no answer at all
 * (`reset`, `hang`) are the server's; the others are here.
 */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | number>>
  /** The whole body, or the events of a stream. */
  readonly body: string | Iterable<string>
  /** `hang-up`: the connection is destroyed after the body instead of ending it. */
  readonly ending: 'finish' | 'hang-up'
}

interface Endpoint {
  readonly kind: 'chat' | 'embedding'
  answer(request: FakeRequest, id: string, behaviour: Behaviour): Answer
}

/** What can be posted to. */
export const endpoints: ReadonlyMap<string, Endpoint> = new Map<string, Endpoint>([
  ['/v1/chat/completions', generating(chatWire, readChat)],
  ['/v1/completions', generating(completionWire, readCompletion)],
  [
    '/v1/embeddings',
    { kind: 'embedding', answer: ({ body }, _id, behaviour) => unary(embeddingsReply(body, behaviour), behaviour) },
  ],
])

/**
 * The answer to a posted request.
 * @throws Refusal when the request is wrong or the behaviour is the `status` fault.
 */
export function answerTo(endpoint: Endpoint, request: FakeRequest, raw: string, behaviour: Behaviour): Answer {
  if (behaviour.fault === 'status') throw rehearsedRefusal(behaviour.status)
  checkKind(endpoint, request)
  return endpoint.answer(request, hash('sha1', raw, 'hex').slice(0, 24), behaviour)
}

export function refusalAnswer(refusal: Refusal, behaviour: Behaviour | null): Answer {
  const body = refusalBody(refusal)
  const retryAfter = behaviour?.fault === 'status' ? behaviour.retryAfterSeconds : null
  const headers = { ...jsonHeaders(body), ...behaviour?.headers }
  return {
    status: refusal.status,
    headers: retryAfter === null ? headers : { ...headers, 'retry-after': retryAfter },
    body,
    ending: 'finish',
  }
}

/** `GET /v1/models`: the table. */
export function modelsAnswer(): Answer {
  const data = Object.keys(fakeModels).map(id => ({
    id,
    object: 'model',
    created: fakeCreatedAt,
    owned_by: 'keyhouse',
  }))
  const body = JSON.stringify({ object: 'list', data })
  return { status: 200, headers: jsonHeaders(body), body, ending: 'finish' }
}

function generating(wire: Wire, read: (body: FakeRequest['body']) => Asked): Endpoint {
  return {
    kind: 'chat',
    answer(request, id, behaviour) {
      const asked = read(request.body)
      if (request.stream) return streamed(wire, id, asked, behaviour)
      return unary(wholeReply(wire, id, replyTo(asked, behaviour), behaviour.usageShape !== 'absent'), behaviour)
    },
  }
}

function unary(reply: object, behaviour: Behaviour): Answer {
  const json = JSON.stringify(reply)
  const body = behaviour.usageShape === 'spaced' ? respaced(json) : json
  const headers = { ...jsonHeaders(body), ...behaviour.headers }
  const damage = behaviour.fault && unaryDamage[behaviour.fault]
  const answer: Answer = { status: 200, headers, body, ending: 'finish' }
  return damage ? { ...answer, ...damage(body) } : answer
}

function streamed(wire: Wire, id: string, asked: Asked, behaviour: Behaviour): Answer {
  const reply = replyTo(asked, behaviour)
  const { usageShape, fault } = behaviour
  const events = streamEvents({ wire, id, reply, usageShape, usageAsked: asked.usageInStream })
  const headers = { ...streamHeaders, ...behaviour.headers }
  const damage = fault && streamDamage[fault]
  if (!damage) return { status: 200, headers, body: events, ending: 'finish' }
  const tokens = behaviour.faultAfterTokens ?? Math.floor(reply.visibleTokens / 2)
  const intact = take(events, eventsBeforeTokens(wire, reply) + tokens)
  return { status: 200, headers, ...damage(intact, brokenEvent(usageShape)) }
}

const notJson = "<html><body>Keyhouse's fake provider sends this page on purpose: it is not JSON.</body></html>"

/** What a fault does to a whole body; `cut` keeps the content-length of the intact one. */
const unaryDamage: Partial<Record<Fault, (body: string) => Partial<Answer>>> = {
  cut: body => ({ body: firstHalf(body), ending: 'hang-up' }),
  truncate: body => ({ body: firstHalf(body), headers: jsonHeaders(firstHalf(body)) }),
  malformed: () => ({ body: notJson, headers: jsonHeaders(notJson) }),
}

/** What a fault does to a stream, given the events that stay intact. */
const streamDamage: Partial<
  Record<Fault, (intact: Iterable<string>, broken: string) => Pick<Answer, 'body' | 'ending'>>
> = {
  cut: intact => ({ body: intact, ending: 'hang-up' }),
  truncate: intact => ({ body: intact, ending: 'finish' }),
  malformed: (intact, broken) => ({ body: followed(intact, [broken, 'data: [DONE]\n\n']), ending: 'finish' }),
}

function checkKind(endpoint: Endpoint, { model }: FakeRequest): void {
  const kind = findFakeModel(model)?.kind
  if (kind === endpoint.kind) return
  if (kind === 'embedding') throw new Refusal(400, `The model '${model}' embeds: call /v1/embeddings.`, 'model')
  if (kind === 'chat') throw new Refusal(400, `The model '${model}' chats: call /v1/chat/completions.`, 'model')
  if (model.startsWith(fakeModelPrefix)) throw new Refusal(404, unknownModel(model), 'model', 'model_not_found')
}

function unknownModel(model: string): string {
  const known = Object.keys(fakeModels).join(', ')
  return `The model '${model}' does not exist at Keyhouse's fake provider. These do: ${known}.`
}

function jsonHeaders(body: string) {
  return { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
}

const streamHeaders = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' }

function firstHalf(body: string): string {
  return body.slice(0, Math.floor(body.length / 2))
}

function* take(events: Iterable<string>, count: number): Generator<string> {
  let taken = 0
  for (const event of events) {
    if (taken++ === count) return
    yield event
  }
}

function* followed(first: Iterable<string>, then: Iterable<string>): Generator<string> {
  yield* first
  yield* then
}
