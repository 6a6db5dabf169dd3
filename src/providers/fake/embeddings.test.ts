import { expect, test } from 'vitest'
import { startCaller } from './testing.ts'

const path = '/v1/embeddings'
const model = 'keyhouse-test-embedding'

test('an embedding is a unit vector that depends on the text only, in float and in base64', async () => {
  const { post } = await startCaller()
  const embed = async (fields: object) => JSON.parse((await post(path, { model, ...fields })).text)
  const floats = await embed({ input: ['hello there', 'goodbye'] })
  expect(floats).toEqual({
    object: 'list',
    model,
    data: [
      { object: 'embedding', index: 0, embedding: expect.any(Array) },
      { object: 'embedding', index: 1, embedding: expect.any(Array) },
    ],
    usage: { prompt_tokens: 3, total_tokens: 3 },
  })
  const [hello, goodbye] = floats.data.map(({ embedding }: { embedding: number[] }) => embedding)
  expect(hello).toHaveLength(16)
  expect(Math.hypot(...hello)).toBeCloseTo(1, 6)
  expect(hello).not.toEqual(goodbye)
  const encoded = await embed({ input: 'hello there', encoding_format: 'base64' })
  const bytes = Buffer.from(encoded.data[0].embedding, 'base64')
  expect(Array.from({ length: 16 }, (_, at) => bytes.readFloatLE(at * 4))).toEqual(hello)
})

test.each([8, 384, 1_536])('%i dimensions are normalised too', async dimensions => {
  const { post } = await startCaller()
  const { data } = JSON.parse((await post(path, { model, input: [1, 2, 3], dimensions })).text)
  expect(data[0].embedding).toHaveLength(dimensions)
  expect(Math.hypot(...data[0].embedding)).toBeCloseTo(1, 5)
})

test('wrong inputs are refused and named', async () => {
  const { post } = await startCaller()
  const refused = async (fields: object) => {
    const { status, text } = await post(path, { model, input: 'x', ...fields })
    return [status, JSON.parse(text).error.param]
  }
  expect(await refused({ input: [] })).toEqual([400, 'input'])
  expect(await refused({ input: Array(2_049).fill('x') })).toEqual([400, 'input'])
  expect(await refused({ input: Array(200).fill('x'), dimensions: 1_536 })).toEqual([400, 'input'])
  expect(await refused({ dimensions: 7 })).toEqual([400, 'dimensions'])
  expect(await refused({ encoding_format: 'hex' })).toEqual([400, 'encoding_format'])
  expect(await refused({ model: 'keyhouse-test-chat' })).toEqual([400, 'model'])
})
