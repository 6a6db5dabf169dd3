/**
 * Reads and writes GGUF, the one-file format that llama.cpp loads: metadata, then a table of tensors, then their bytes.
 * Version 3, little endian; the layout is described in ggml's docs/gguf.md.
 *
 * Writing is deterministic: the same input gives the same bytes, so that a converted file can be pinned by its sha256.
 * Reading looks at the metadata only, within bounds, because the file may come from anywhere.
 */
import { type FileHandle, open } from 'node:fs/promises'

export type GgufValue =
  | { type: 'u32'; value: number }
  | { type: 'i32'; value: number }
  | { type: 'f32'; value: number }
  | { type: 'bool'; value: boolean }
  | { type: 'string'; value: string }
  | { type: 'strings'; value: readonly string[] }
  | { type: 'i32s'; value: readonly number[] }

export type GgufTensor = {
  readonly name: string
  /** ggml's order: the fastest-running dimension first, the reverse of safetensors and PyTorch. */
  readonly shape: readonly number[]
  readonly type: 'f32' | 'f16'
  readonly bytes: Uint8Array
}

const magic = 0x46554747
const version = 3
const alignment = 32
const metadataBytesMax = 64 * 1024 * 1024
const metadataCountMax = 10_000
const blockBytes = 256 * 1024

const typeIds = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
}
const tensorTypeIds = { f32: 0, f16: 1 } as const

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
const i32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(value)
  return bytes
}
const f32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(value)
  return bytes
}
const u64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}
const text = (value: string): Buffer => {
  const bytes = Buffer.from(value, 'utf8')
  return Buffer.concat([u64(bytes.length), bytes])
}
const array = (typeId: number, items: readonly Buffer[]): Buffer =>
  Buffer.concat([u32(typeId), u64(items.length), ...items])

const encode = (entry: GgufValue): Buffer => {
  switch (entry.type) {
    case 'u32':
      return Buffer.concat([u32(typeIds.u32), u32(entry.value)])
    case 'i32':
      return Buffer.concat([u32(typeIds.i32), i32(entry.value)])
    case 'f32':
      return Buffer.concat([u32(typeIds.f32), f32(entry.value)])
    case 'bool':
      return Buffer.concat([u32(typeIds.bool), Buffer.from([entry.value ? 1 : 0])])
    case 'string':
      return Buffer.concat([u32(typeIds.string), text(entry.value)])
    case 'strings':
      return Buffer.concat([u32(typeIds.array), array(typeIds.string, entry.value.map(text))])
    case 'i32s':
      return Buffer.concat([u32(typeIds.array), array(typeIds.i32, entry.value.map(i32))])
  }
}

const padding = (length: number): Buffer => Buffer.alloc((alignment - (length % alignment)) % alignment)

const tensorTable = (tensors: readonly GgufTensor[]): Buffer[] => {
  let offset = 0
  return tensors.map(tensor => {
    const row = [text(tensor.name), u32(tensor.shape.length), ...tensor.shape.map(u64)]
    const encoded = Buffer.concat([...row, u32(tensorTypeIds[tensor.type]), u64(offset)])
    offset += tensor.bytes.length + padding(tensor.bytes.length).length
    return encoded
  })
}

/** The file as a list of buffers, so that large tensors are written without being copied into one block. */
export const encodeGguf = (
  metadata: Readonly<Record<string, GgufValue>>,
  tensors: readonly GgufTensor[],
): readonly Uint8Array[] => {
  const entries = Object.entries(metadata)
  const head = Buffer.concat([
    u32(magic),
    u32(version),
    u64(tensors.length),
    u64(entries.length),
    ...entries.flatMap(([key, value]) => [text(key), encode(value)]),
    ...tensorTable(tensors),
  ])
  return [head, padding(head.length), ...tensors.flatMap(({ bytes }) => [bytes, padding(bytes.length)])]
}

/** Reads forward through a file in blocks, and no further than `metadataBytesMax`. */
const createReader = (file: FileHandle) => {
  let block = Buffer.alloc(0)
  let position = 0
  const fill = async (length: number): Promise<void> => {
    const next = Buffer.alloc(Math.max(length, blockBytes))
    const { bytesRead } = await file.read(next, 0, next.length, position)
    position += bytesRead
    block = Buffer.concat([block, next.subarray(0, bytesRead)])
  }
  const take = async (length: number): Promise<Buffer> => {
    if (position + length > metadataBytesMax) throw new Error(`its metadata is larger than ${metadataBytesMax} bytes`)
    if (block.length < length) await fill(length)
    if (block.length < length) throw new Error('it ends in the middle of its metadata')
    const taken = block.subarray(0, length)
    block = block.subarray(length)
    return taken
  }
  const takeCount = async (): Promise<number> => Number((await take(8)).readBigUInt64LE())
  const takeText = async (): Promise<string> => (await take(await takeCount())).toString('utf8')
  return { take, takeCount, takeText }
}

type Reader = ReturnType<typeof createReader>

const scalarBytes: Readonly<Record<number, number>> = {
  [typeIds.u8]: 1,
  [typeIds.i8]: 1,
  [typeIds.u16]: 2,
  [typeIds.i16]: 2,
  [typeIds.u32]: 4,
  [typeIds.i32]: 4,
  [typeIds.f32]: 4,
  [typeIds.bool]: 1,
  [typeIds.u64]: 8,
  [typeIds.i64]: 8,
  [typeIds.f64]: 8,
}

const skipArray = async (reader: Reader): Promise<null> => {
  const typeId = (await reader.take(4)).readUInt32LE()
  const count = await reader.takeCount()
  const bytes = scalarBytes[typeId]
  if (bytes !== undefined) await reader.take(bytes * count)
  else if (typeId === typeIds.string) for (let i = 0; i < count; i++) await reader.takeText()
  else throw new Error(`it holds an array of the unknown type ${typeId}`)
  return null
}

/** Numbers up to 32 bits, text and truth; `null` for what nobody asks for (arrays, the wider and the narrower numbers). */
const takeValue = async (reader: Reader): Promise<string | number | boolean | null> => {
  const typeId = (await reader.take(4)).readUInt32LE()
  if (typeId === typeIds.string) return reader.takeText()
  if (typeId === typeIds.array) return skipArray(reader)
  const bytes = scalarBytes[typeId]
  if (bytes === undefined) throw new Error(`it holds a value of the unknown type ${typeId}`)
  const raw = await reader.take(bytes)
  if (typeId === typeIds.u32) return raw.readUInt32LE()
  if (typeId === typeIds.i32) return raw.readInt32LE()
  if (typeId === typeIds.f32) return raw.readFloatLE()
  return typeId === typeIds.bool ? raw[0] === 1 : null
}

export type GgufMetadata = ReadonlyMap<string, string | number | boolean | null>

const readEntries = async (reader: Reader): Promise<GgufMetadata> => {
  if ((await reader.take(4)).readUInt32LE() !== magic) throw new Error('it does not begin with the letters GGUF')
  const found = (await reader.take(4)).readUInt32LE()
  if (found !== 2 && found !== version) throw new Error(`it is version ${found} of the format, which we cannot read`)
  await reader.takeCount()
  const count = await reader.takeCount()
  if (count > metadataCountMax) throw new Error(`it claims ${count} metadata entries`)
  const entries = new Map<string, string | number | boolean | null>()
  for (let i = 0; i < count; i++) entries.set(await reader.takeText(), await takeValue(reader))
  return entries
}

/** The metadata of a GGUF file. Throws a sentence that says what is wrong with the file. */
export const readGgufMetadata = async (path: string): Promise<GgufMetadata> => {
  const file = await open(path)
  try {
    return await readEntries(createReader(file))
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new Error(`${path} is not a usable GGUF file: ${why}. Name a model file that ends in .gguf.`, { cause })
  } finally {
    await file.close()
  }
}
