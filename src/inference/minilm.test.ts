import { expect, test } from 'vitest'
import { convertMiniLm, halfToSingle } from './minilm.ts'

const half = (bits: number): Buffer => {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16LE(bits)
  return bytes
}

const blockTensors = ['attention.self.query', 'attention.self.key', 'attention.self.value', 'attention.output.dense']
const moreTensors = ['attention.output.LayerNorm', 'intermediate.dense', 'output.dense', 'output.LayerNorm']
const embeddingTensors = ['word_embeddings', 'position_embeddings', 'token_type_embeddings', 'LayerNorm']

const tensorNames = [
  ...embeddingTensors.map(name => `embeddings.${name}.weight`),
  'embeddings.LayerNorm.bias',
  ...[0, 1, 2, 3, 4, 5].flatMap(block =>
    [...blockTensors, ...moreTensors].flatMap(name => [
      `encoder.layer.${block}.${name}.weight`,
      `encoder.layer.${block}.${name}.bias`,
    ]),
  ),
]

/** A safetensors file in which each tensor is one fp16 number: 1.5. */
const makeSafetensors = (names: readonly string[]): Buffer => {
  const rows = names.map((name, index) => {
    const shape = name.endsWith('bias') || name.includes('LayerNorm') ? [1] : [1, 1]
    return [name, { dtype: 'F16', shape, data_offsets: [index * 2, index * 2 + 2] }]
  })
  const header = Buffer.from(JSON.stringify(Object.fromEntries(rows)))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  return Buffer.concat([length, header, ...names.map(() => half(0x3e00))])
}

const tokenizer = JSON.stringify({
  model: { vocab: { '[PAD]': 0, '##ing': 2, eat: 1 } },
  added_tokens: [{ id: 0, content: '[PAD]' }],
})

test('converting MiniLM gives the same bytes each time, so that they can be pinned', () => {
  const convert = () => Buffer.concat(convertMiniLm(makeSafetensors(tensorNames), tokenizer))
  expect(convert().equals(convert())).toBe(true)
})

test('the converted vocabulary is in order of ids, marks word beginnings, and leaves control tokens alone', () => {
  const text = Buffer.concat(convertMiniLm(makeSafetensors(tensorNames), tokenizer)).toString('utf8')
  const at = ['[PAD]', '\u2581eat', 'ing'].map(piece => text.indexOf(piece, text.indexOf('tokenizer.ggml.tokens')))
  expect(at).toEqual([...at].sort((a, b) => a - b))
  expect(at).not.toContain(-1)
  expect(text).not.toContain('##ing')
})

test('matrices keep their fp16 bits; vectors and look-up tables become fp32', () => {
  const buffers = convertMiniLm(makeSafetensors(tensorNames), tokenizer).slice(2)
  const sizes = buffers.filter((_bytes, index) => index % 2 === 0).map(bytes => bytes.length)
  expect(sizes.filter(size => size === 2)).toHaveLength(1 + 6 * 6)
  expect(sizes.filter(size => size === 4)).toHaveLength(4 + 6 * 10)
  const widened = buffers.find(bytes => bytes.length === 4)
  expect(Buffer.from(widened ?? []).readFloatLE()).toBe(1.5)
})

test('weights that are not MiniLM are refused by the name of what they lack', () => {
  expect(() => convertMiniLm(makeSafetensors(tensorNames.slice(1)), tokenizer)).toThrow(/word_embeddings/)
})

test.each([
  [0x0000, 0],
  [0x3c00, 1],
  [0xc000, -2],
  [0x3555, 0.333251953125],
  [0x7bff, 65504],
  [0x0001, 2 ** -24],
  [0x0400, 2 ** -14],
  [0x7c00, Number.POSITIVE_INFINITY],
  [0xfc00, Number.NEGATIVE_INFINITY],
  [0x7e00, Number.NaN],
])('the half-precision bits %i are %d', (bits, value) => {
  expect(halfToSingle(bits)).toBe(value)
})
