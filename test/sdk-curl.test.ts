/** curl, as in the README. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startGateway, type TestGateway } from './support/gateway.ts'
import { has } from './support/system.ts'

describe.runIf(has('curl'))('curl', () => {
  let gateway: TestGateway

  beforeAll(async () => {
    gateway = await startGateway()
  })

  afterAll(() => gateway.stop())

  const curl = async (path: string, ...args: string[]): Promise<string> => {
    const { stdout } = await promisify(execFile)('curl', ['-sS', '--max-time', '20', ...args, gateway.url + path])
    return stdout
  }
  const bearer = () => ['-H', `Authorization: Bearer ${gateway.keys.project}`]
  const json = (body: object) => ['-H', 'Content-Type: application/json', '-d', JSON.stringify(body)]
  const messages = [{ role: 'user', content: 'hello there' }]

  test('the first call of the README is answered', async () => {
    const answer = JSON.parse(
      await curl('/v1/chat/completions', ...bearer(), ...json({ model: 'm', messages, max_tokens: 40 })),
    )
    expect(answer.choices[0].message.content).toContain('hello there')
  })

  test('a stream ends with [DONE]', async () => {
    const text = await curl('/v1/chat/completions', '-N', ...bearer(), ...json({ model: 'm', messages, stream: true }))
    expect(text).toMatch(/^data: \{.*\}\n\n/)
    expect(text).toMatch(/data: \[DONE\]\n\n$/)
  })

  test('the key may be the password of HTTP Basic', async () => {
    expect(JSON.parse(await curl('/v1/models', '-u', `:${gateway.keys.project}`)).data).toHaveLength(2)
  })

  test('a body that curl announces with Expect: 100-continue is taken', async () => {
    const long = [{ role: 'user', content: 'x'.repeat(100_000) }]
    const expecting = ['-H', 'Expect: 100-continue', '-i']
    const text = await curl('/v1/chat/completions', ...bearer(), ...expecting, ...json({ model: 'm', messages: long }))
    expect(text).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n/)
  })

  test('without a key it says how to send one', async () => {
    const text = await curl('/v1/models', '-w', '\n%{http_code}')
    expect(text).toMatch(/\n401$/)
    expect(text).toContain('Authorization: Bearer YOUR_KEY')
  })
})
