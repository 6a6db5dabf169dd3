// What is said in calls, from the client to the owner who may read it: off until asked for, without keys, never in the way.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { chatBody, startGateway, type TestGateway, upstreamCredential } from './support/gateway.ts'

let gateway: TestGateway
let capture: string
beforeAll(async () => {
  gateway = await startGateway({
    cases: {
      short: { outputTokens: 5 },
      long: { outputTokens: 400, chunkIntervalMs: 20 },
      refuses: { fault: 'status', status: 400 },
    },
  })
  type List = { readonly data: readonly { readonly id: string }[] }
  const { data } = await gateway.admin<List>('GET', '/v1/organization/projects')
  capture = `/v1/organization/projects/${data[0]?.id}/payload_capture`
})
afterAll(() => gateway?.stop())

type Payload = {
  readonly request: { readonly text: string; readonly bytes: number; readonly truncated: boolean }
  readonly answer: { readonly text: string; readonly bytes: number; readonly truncated: boolean }
}

const readEveryMs = 50
const readsMax = 60
/** A grant that changed is known everywhere within a second. */
const grantMs = 1_200

async function payloadOf(id: string | null, looks = readsMax): Promise<Payload | undefined> {
  for (let look = 0; look < looks; look += 1) {
    const path = `/v1/organization/calls/${id}/payload`
    const headers = { authorization: `Bearer ${gateway.keys.admin}` }
    const answer = await fetch(gateway.url + path, { headers, signal: AbortSignal.timeout(10_000) })
    // Its shape is the contract's
    if (answer.status === 200) return (await answer.json()) as Payload
    expect(answer.status).toBe(404)
    await sleep(readEveryMs)
  }
  return undefined
}

const idOf = ({ headers }: Response): string | null => headers.get('x-request-id')

test('nothing is kept until somebody asks for it; then whole answers and streams are, without any key', async () => {
  const before = await gateway.chat('short')
  await before.text()
  await gateway.admin('POST', capture, { enabled: true })
  await sleep(grantMs)

  const whole = await gateway.chat('short', {
    messages: [{ role: 'user', content: `my key is ${gateway.keys.project}` }],
  })
  const text = await whole.text()
  const stream = await gateway.chat('short', { stream: true })
  const events = await stream.text()

  const ofWhole = await payloadOf(idOf(whole))
  expect(ofWhole?.answer).toEqual({ text, bytes: Buffer.byteLength(text), truncated: false })
  expect(ofWhole?.request.text).toContain('my key is sk-kh-proj-****')
  const ofStream = await payloadOf(idOf(stream))
  expect(ofStream?.answer).toEqual({ text: events, bytes: Buffer.byteLength(events), truncated: false })
  expect(JSON.parse(ofStream?.request.text ?? '')).toEqual(chatBody('short', { stream: true }))
  const all = JSON.stringify([ofWhole, ofStream])
  for (const secret of [gateway.keys.project, gateway.keys.admin, upstreamCredential]) expect(all).not.toContain(secret)
  expect(await payloadOf(idOf(before), 3)).toBe(undefined)
})

test('a stream that the client left is kept as far as it was sent; a refused call is not kept', async () => {
  const leaving = new AbortController()
  const left = await gateway.chat('long', { stream: true }, { signal: leaving.signal })
  await left.body?.getReader().read()
  leaving.abort()
  expect((await payloadOf(idOf(left)))?.answer.text).toMatch(/^data: /)
  const refused = await gateway.chat('refuses')
  expect(refused.status).toBe(400)
  const unknown = await gateway.post('/v1/chat/completions', chatBody('short', { model: 'unknown' }))
  for (const { headers } of [refused, unknown]) expect(await payloadOf(headers.get('x-request-id'), 15)).toBe(undefined)
})

test('a dry run is no call, and leaves nothing', async () => {
  const dry = await gateway.post('/v1/chat/completions', chatBody('short'), {
    headers: { 'x-keyhouse-dry-run': 'true' },
  })
  await dry.text()
  expect(await payloadOf(idOf(dry), 15)).toBe(undefined)
})

test('long ones are cut at the bound of the project, and after it is turned off nothing is kept any more', async () => {
  await gateway.admin('POST', capture, { max_bytes: 1_024 })
  await sleep(grantMs)
  const long = await gateway.chat('short', { messages: [{ role: 'user', content: 'x'.repeat(5_000) }] })
  await long.text()
  const kept = await payloadOf(idOf(long))
  expect([kept?.request.text.length, kept?.request.truncated]).toEqual([1_024, true])
  expect(kept?.request.bytes).toBeGreaterThan(5_000)
  await gateway.admin('POST', capture, { enabled: false })
  await sleep(grantMs)
  const after = await gateway.chat('short')
  await after.text()
  expect(await payloadOf(idOf(after), 15)).toBe(undefined)
})
