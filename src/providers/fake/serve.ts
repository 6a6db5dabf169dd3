import { type Answer, answerTo, endpoints, modelsAnswer, refusalAnswer } from './answer.ts'
import { type Behaviour, hangMsMax, plainBehaviour } from './behaviour.ts'
import { findFakeModel } from './models.ts'
import type { Exchange } from './record.ts'
import { Refusal } from './refusal.ts'
import { type FakeRequest, isRecord } from './request.ts'
import { pause, writeAnswer } from './write.ts'

/** One request from its head to its end: read, decide, wait, answer or break. */

export interface ServeSettings {
  behaviourOf(request: FakeRequest): Partial<Behaviour>
  readonly recordedBodyBytesMax: number
}

interface Plan {
  readonly behaviour: Behaviour
  readonly answer: Answer
}

/** Larger bodies are read, dropped and refused with 413. */
export const bodyBytesMax = 32 * 1024 * 1024

/**
 * What is wrong with the request, or thrown by `behaviourOf`, becomes the answer. Rejects only when HTTP cannot carry the
 * behaviour, say a status of 42.
 */
export async function serve(exchange: Exchange, settings: ServeSettings): Promise<void> {
  const raw = await readBody(exchange, settings.recordedBodyBytesMax)
  if (raw === null) return
  const { behaviour, answer } = decide(exchange, raw, settings)
  const { response, record } = exchange
  if (behaviour.latencyMs > 0) await pause(response, behaviour.latencyMs)
  if (response.destroyed) return
  if (behaviour.fault === 'reset') return reset(exchange)
  if (behaviour.fault === 'hang') return hang(exchange)
  const headers = { ...answer.headers, 'x-request-id': `req_fake_${record.number}`, 'x-keyhouse-fake': 'true' }
  const isWritten = await writeAnswer(response, { ...answer, headers }, behaviour, () => {
    record.chunksWritten += 1
  })
  if (!isWritten) return
  if (answer.ending === 'finish') response.end()
  else hangUp(exchange)
}

function decide({ record }: Exchange, raw: string, settings: ServeSettings): Plan {
  let behaviour = plainBehaviour
  try {
    const path = record.path.split('?', 1)[0] ?? ''
    if (record.method === 'GET' && path === '/v1/models') return { behaviour, answer: modelsAnswer() }
    const endpoint = endpointOf(record.method, path)
    if (record.bodyBytes > bodyBytesMax) throw new Refusal(413, `The body is larger than ${bodyBytesMax} bytes.`)
    const request = { number: record.number, path, headers: record.headers, ...readRequest(raw) }
    behaviour = { ...plainBehaviour, ...findFakeModel(request.model)?.behaviour, ...settings.behaviourOf(request) }
    return { behaviour, answer: answerTo(endpoint, request, raw, behaviour) }
  } catch (error) {
    const refusal = error instanceof Refusal ? error : new Refusal(500, `Keyhouse's fake provider failed: ${error}`)
    return { behaviour, answer: refusalAnswer(refusal, behaviour) }
  }
}

function endpointOf(method: string, path: string) {
  const endpoint = endpoints.get(path)
  if (!endpoint) throw new Refusal(404, `Invalid URL (${method} ${path})`)
  if (method !== 'POST') throw new Refusal(405, `Not allowed to ${method} on ${path}`)
  return endpoint
}

function readRequest(raw: string): Pick<FakeRequest, 'body' | 'model' | 'stream'> {
  const body = parse(raw)
  if (!isRecord(body)) throw new Refusal(400, 'The body must be a JSON object.')
  if (typeof body.model !== 'string' || body.model === '') throw new Refusal(400, "'model' must be a string.", 'model')
  return { body, model: body.model, stream: body.stream === true }
}

function parse(raw: string): unknown {
  try {
    return JSON.parse(raw)
  } catch {
    return undefined
  }
}

/** The body as text, or null when the client left before its end. What arrived is recorded in both cases. */
function readBody({ request, record }: Exchange, recordedBytesMax: number): Promise<string | null> {
  const parts: Buffer[] = []
  request.on('data', (part: Buffer) => {
    record.bodyBytes += part.length
    if (record.bodyBytes <= bodyBytesMax) parts.push(part)
  })
  return new Promise(resolve => {
    const done = (isWhole: boolean) => {
      const bytes = Buffer.concat(parts)
      record.body = bytes.toString('utf8', 0, recordedBytesMax)
      resolve(isWhole ? bytes.toString() : null)
    }
    request.once('end', () => done(true))
    // emitted instead of `end` when the client leaves; `close` of the response then tells the recorder
    request.once('error', () => done(false))
  })
}

/** Closes the connection once what was written is out. */
function hangUp(exchange: Exchange): void {
  exchange.hungUp = true
  exchange.request.socket.destroySoon()
}

function reset(exchange: Exchange): void {
  exchange.hungUp = true
  const { socket } = exchange.request
  // only a TCP socket can be reset; it is the one with an address
  if (socket.remoteAddress === undefined) socket.destroy()
  else socket.resetAndDestroy()
}

async function hang(exchange: Exchange): Promise<void> {
  await pause(exchange.response, hangMsMax)
  if (!exchange.response.destroyed) reset(exchange)
}
