import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { encodeGguf, readGgufMetadata } from './gguf.ts'
import { makeTempFolder } from './testing.ts'

let folder: ReturnType<typeof makeTempFolder>
beforeAll(() => {
  folder = makeTempFolder()
})
afterAll(() => folder.remove())

const write = (name: string, bytes: Uint8Array): string => {
  const path = join(folder.path, name)
  writeFileSync(path, bytes)
  return path
}

const metadata = {
  'general.name': { type: 'string', value: 'añ' },
  'x.count': { type: 'u32', value: 4_000_000_000 },
  'x.below': { type: 'i32', value: -7 },
  'x.small': { type: 'f32', value: 0.5 },
  'x.on': { type: 'bool', value: true },
  'x.words': { type: 'strings', value: ['a', 'bb'] },
  'x.numbers': { type: 'i32s', value: [1, -1] },
  'x.last': { type: 'u32', value: 1 },
} as const

test('what is written to a GGUF file is read back, lists are skipped', async () => {
  const found = await readGgufMetadata(write('a.gguf', Buffer.concat(encodeGguf(metadata, []))))
  expect(Object.fromEntries(found)).toEqual({
    'general.name': 'añ',
    'x.count': 4_000_000_000,
    'x.below': -7,
    'x.small': 0.5,
    'x.on': true,
    'x.words': null,
    'x.numbers': null,
    'x.last': 1,
  })
})

test('every tensor of a GGUF file begins at a multiple of 32 bytes', () => {
  const tensor = (name: string) => ({ name, shape: [3], type: 'f32' as const, bytes: Buffer.alloc(12, name) })
  const [head, headPadding, ...rest] = encodeGguf(metadata, [tensor('a'), tensor('b')])
  expect(((head?.length ?? 0) + (headPadding?.length ?? 0)) % 32).toBe(0)
  expect(rest.map(part => part.length)).toEqual([12, 20, 12, 20])
})

test.each([
  ['text instead of a model', Buffer.from('<html>not found</html>'), /does not begin with the letters GGUF/],
  ['an empty file', Buffer.alloc(0), /ends in the middle/],
  ['half a file', Buffer.concat(encodeGguf(metadata, [])).subarray(0, 60), /ends in the middle/],
  [
    'a count made to fill memory',
    Buffer.concat([Buffer.from('GGUF'), Buffer.from('03000000', 'hex'), Buffer.alloc(16, 0xff)]),
    /claims/,
  ],
])('%s is refused as a model, with a sentence', async (name, bytes, why) => {
  await expect(readGgufMetadata(write(`${name}.gguf`, bytes))).rejects.toThrow(why)
})
