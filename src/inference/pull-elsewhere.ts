/** Fetches one GGUF file from a path or an address, and learns from the file itself what kind of model it is. */
import { mkdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { cardOf, findInCatalog, isModelName, type ModelCard } from './catalog.ts'
import { fetchWeights, showSource } from './fetch-weights.ts'
import { hasSha256 } from './files.ts'
import { readGgufMetadata } from './gguf.ts'
import { readCard } from './model-folder.ts'
import { installModel, type PullOptions, pullOnce, wrongHash } from './pull.ts'

export type PullFrom = {
  readonly name: string
  /** A path, or an http(s) address. */
  readonly from: string
  /** Hexadecimal; required, because a file from elsewhere is code for our purposes. */
  readonly sha256: string
}

const brought = { outputTokensMax: 4096, contextTokensMax: 8192 } as const

const numberAt = (metadata: ReadonlyMap<string, unknown>, key: string): number | null => {
  const value = metadata.get(key)
  return typeof value === 'number' ? value : null
}

/** What a GGUF file says about itself. A model that pools its output is for embeddings, any other is for chat. */
const describe = async (name: string, path: string): Promise<Omit<ModelCard, 'bytes' | 'sha256'>> => {
  const metadata = await readGgufMetadata(path)
  const architecture = String(metadata.get('general.architecture'))
  const trained = numberAt(metadata, `${architecture}.context_length`) ?? 2048
  const isEmbedder = (numberAt(metadata, `${architecture}.pooling_type`) ?? 0) > 0
  const contextTokensMax = Math.min(trained, brought.contextTokensMax)
  return {
    name,
    kind: isEmbedder ? 'embeddings' : 'chat',
    contextTokensMax,
    outputTokensMax: isEmbedder ? 0 : Math.min(contextTokensMax, brought.outputTokensMax),
    dimensions: isEmbedder ? numberAt(metadata, `${architecture}.embedding_length`) : null,
    licence: String(metadata.get('general.license') ?? 'unknown: ask whoever published it'),
    label: `${String(metadata.get('general.name') ?? name)}, brought by the operator`,
  }
}

/** The catalog's own card when these are the catalog's own bytes. */
const cardFor = async (name: string, weights: string, sha256: string): Promise<ModelCard> => {
  const row = findInCatalog(name)
  if (row?.sha256 === sha256) return cardOf(row)
  return { ...(await describe(name, weights)), bytes: (await stat(weights)).size, sha256 }
}

const checkRequest = ({ name, sha256 }: PullFrom): void => {
  if (!isModelName(name)) {
    throw new Error(`\`${name}\` cannot be a model's name: use up to 64 of a-z, 0-9, dot, dash and underscore.`)
  }
  if (!/^[0-9a-f]{64}$/i.test(sha256)) {
    throw new Error('Give the sha256 of the weights (64 hexadecimal digits): nothing is run that is not pinned.')
  }
}

const fetchFile = async ({ name, from, sha256 }: PullFrom, options: PullOptions, folder: string): Promise<void> => {
  const { models, signal, onProgress } = options
  // by its hash, so that a download that was cut is only ever continued with the same file
  const ready = join(folder, sha256)
  const weights = join(ready, 'weights.gguf')
  await mkdir(ready, { recursive: true })
  const onBytes = (bytesDone: number, bytesTotal: number | null): void =>
    onProgress({ part: name, bytesDone, bytesTotal })
  await fetchWeights({ from, target: weights, folder, signal, onBytes })
  if (!(await hasSha256(weights, sha256, signal))) {
    await rm(ready, { recursive: true, force: true })
    throw new Error(wrongHash(showSource(from)))
  }
  await installModel(await cardFor(name, weights, sha256), ready, models)
}

/** Fetches one GGUF file from a path or an address under a name of the operator's choice, also one in the catalog. */
export const pullFromElsewhere = async (request: PullFrom, options: PullOptions): Promise<void> => {
  checkRequest(request)
  const pinned = { ...request, sha256: request.sha256.toLowerCase() }
  await pullOnce({
    what: request.name,
    options,
    bytesTotal: null,
    isDone: () => readCard(options.models, request.name)?.sha256 === pinned.sha256,
    fetch: (tracked, folder) => fetchFile(pinned, tracked, folder),
  })
}
