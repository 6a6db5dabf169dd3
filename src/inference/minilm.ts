/**
 * Turns all-MiniLM-L6-v2, which npm has as fp16 safetensors and a Hugging Face tokenizer.json, into the GGUF file that
 * llama.cpp loads. The matrices keep their fp16 bits; only vectors and the two small lookup tables are widened to fp32,
 * as llama.cpp wants them, so nothing is lost.
 *
 * Two details cost others days: llama.cpp marks word beginnings (U+2581) where BERT marks continuations (##), and its
 * metadata key really is spelt `seperator`.
 */
import { encodeGguf, type GgufTensor, type GgufValue } from './gguf.ts'

type StoredTensor = { readonly dtype: string; readonly shape: readonly number[]; readonly bytes: Uint8Array }

const blockCount = 6
const dimensions = 384

const ownNames: Readonly<Record<string, string>> = {
  'embeddings.word_embeddings.weight': 'token_embd.weight',
  'embeddings.position_embeddings.weight': 'position_embd.weight',
  'embeddings.token_type_embeddings.weight': 'token_types.weight',
  'embeddings.LayerNorm.weight': 'token_embd_norm.weight',
  'embeddings.LayerNorm.bias': 'token_embd_norm.bias',
}

const blockNames: Readonly<Record<string, string>> = {
  'attention.self.query': 'attn_q',
  'attention.self.key': 'attn_k',
  'attention.self.value': 'attn_v',
  'attention.output.dense': 'attn_output',
  'attention.output.LayerNorm': 'attn_output_norm',
  'intermediate.dense': 'ffn_up',
  'output.dense': 'ffn_down',
  'output.LayerNorm': 'layer_output_norm',
}

const lookUpTables = new Set(['embeddings.position_embeddings.weight', 'embeddings.token_type_embeddings.weight'])

const allNames = (): ReadonlyMap<string, string> => {
  const names = new Map(Object.entries(ownNames))
  for (let block = 0; block < blockCount; block++) {
    for (const [from, to] of Object.entries(blockNames)) {
      for (const part of ['weight', 'bias']) {
        names.set(`encoder.layer.${block}.${from}.${part}`, `blk.${block}.${to}.${part}`)
      }
    }
  }
  return names
}

/** safetensors: eight bytes of header length, a JSON header, then the bytes that its offsets point into. */
const readSafetensors = (file: Buffer): ReadonlyMap<string, StoredTensor> => {
  const headerEnd = 8 + Number(file.readBigUInt64LE(0))
  // The file's sha256 has been checked against the catalog, so its header has the shape that we know.
  const header = JSON.parse(file.toString('utf8', 8, headerEnd)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >
  const tensors = new Map<string, StoredTensor>()
  for (const [name, row] of Object.entries(header)) {
    if (name === '__metadata__') continue
    const [begin, end] = row.data_offsets
    tensors.set(name, { dtype: row.dtype, shape: row.shape, bytes: file.subarray(headerEnd + begin, headerEnd + end) })
  }
  return tensors
}

/** IEEE half to single, by the definition: sign, 5 exponent bits, 10 fraction bits. */
export const halfToSingle = (half: number): number => {
  const sign = half & 0x8000 ? -1 : 1
  const exponent = (half >> 10) & 0x1f
  const fraction = half & 0x3ff
  if (exponent === 0) return sign * 2 ** -24 * fraction
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return sign * 2 ** (exponent - 25) * (fraction | 0x400)
}

const widen = (bytes: Uint8Array): Uint8Array => {
  const halves = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const singles = Buffer.alloc(bytes.length * 2)
  for (let i = 0; i < bytes.length / 2; i++) singles.writeFloatLE(halfToSingle(halves.getUint16(i * 2, true)), i * 4)
  return singles
}

const toTensor = (from: string, to: string, stored: StoredTensor | undefined): GgufTensor => {
  if (stored?.dtype !== 'F16') throw new Error(`The weights have no fp16 tensor ${from}: this is not all-MiniLM-L6-v2.`)
  const shape = [...stored.shape].reverse()
  const widened = stored.shape.length === 1 || lookUpTables.has(from)
  return { name: to, shape, type: widened ? 'f32' : 'f16', bytes: widened ? widen(stored.bytes) : stored.bytes }
}

type Tokenizer = {
  readonly model: { readonly vocab: Readonly<Record<string, number>> }
  readonly added_tokens: readonly { readonly id: number; readonly content: string }[]
}

const tokenTypes = { normal: 1, control: 3 }
const wordStart = '\u2581'

/** llama.cpp's spelling of a WordPiece: continuations bare, word beginnings marked. */
const respell = (piece: string): string => (piece.startsWith('##') ? piece.slice(2) : wordStart + piece)

const vocabulary = (tokenizer: Tokenizer): Readonly<Record<string, GgufValue>> => {
  const control = new Set(tokenizer.added_tokens.map(token => token.id))
  const pieces = Object.entries(tokenizer.model.vocab).sort(([, a], [, b]) => a - b)
  return {
    'tokenizer.ggml.model': { type: 'string', value: 'bert' },
    'tokenizer.ggml.pre': { type: 'string', value: 'default' },
    'tokenizer.ggml.token_type_count': { type: 'u32', value: 2 },
    'tokenizer.ggml.tokens': {
      type: 'strings',
      value: pieces.map(([piece, id]) => (control.has(id) ? piece : respell(piece))),
    },
    'tokenizer.ggml.token_type': {
      type: 'i32s',
      value: pieces.map(([, id]) => (control.has(id) ? tokenTypes.control : tokenTypes.normal)),
    },
    'tokenizer.ggml.padding_token_id': { type: 'u32', value: 0 },
    'tokenizer.ggml.unknown_token_id': { type: 'u32', value: 100 },
    'tokenizer.ggml.cls_token_id': { type: 'u32', value: 101 },
    'tokenizer.ggml.seperator_token_id': { type: 'u32', value: 102 },
    'tokenizer.ggml.mask_token_id': { type: 'u32', value: 103 },
  }
}

const architecture: Readonly<Record<string, GgufValue>> = {
  'general.architecture': { type: 'string', value: 'bert' },
  'general.name': { type: 'string', value: 'all-MiniLM-L6-v2' },
  'general.license': { type: 'string', value: 'apache-2.0' },
  'general.file_type': { type: 'u32', value: 1 },
  'bert.block_count': { type: 'u32', value: blockCount },
  'bert.context_length': { type: 'u32', value: 512 },
  'bert.embedding_length': { type: 'u32', value: dimensions },
  'bert.feed_forward_length': { type: 'u32', value: 1536 },
  'bert.attention.head_count': { type: 'u32', value: 12 },
  'bert.attention.layer_norm_epsilon': { type: 'f32', value: 1e-12 },
  'bert.attention.causal': { type: 'bool', value: false },
  'bert.pooling_type': { type: 'u32', value: 1 },
}

/** The GGUF file, as buffers in order. */
export const convertMiniLm = (safetensors: Buffer, tokenizerJson: string): readonly Uint8Array[] => {
  const stored = readSafetensors(safetensors)
  // As above: pinned by sha256, so its shape is known.
  const tokenizer = JSON.parse(tokenizerJson) as Tokenizer
  const tensors = [...allNames()].map(([from, to]) => toTensor(from, to, stored.get(from)))
  return encodeGguf({ ...architecture, ...vocabulary(tokenizer) }, tensors)
}
