/**
 * Where the parts of the embedded model lie inside the data directory's `models/`:
 *
 *     engine-3.21.1-linux-x64/   node-llama-cpp with the native library of this platform
 *     weights/NAME/              weights.gguf and model.json (a `ModelCard`)
 *     partial/                   what is being fetched; may be deleted whenever nothing is
 *
 * A folder under its final name is complete and verified: it got there by one rename.
 */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { isModelName, type ModelCard } from './catalog.ts'

/** 3.21.1 rather than 3.22: the newest whose libraries exist on npm for every platform, so that all are pinned. */
export const engineVersion = '3.21.1'

const platforms: Readonly<Record<string, string>> = {
  'linux-x64': 'linux-x64',
  'linux-arm64': 'linux-arm64',
  'darwin-arm64': 'mac-arm64-metal',
  'darwin-x64': 'mac-x64',
}

/** The engine's npm package for a machine, without its scope; `null` where there is none. */
const enginePlatform = (platform: string = process.platform, cpu: string = process.arch): string | null =>
  platforms[`${platform}-${cpu}`] ?? null

export const requireEnginePlatform = (): string => {
  const found = enginePlatform()
  if (found !== null) return found
  throw new Error(
    `The embedded model cannot run on ${process.platform} ${process.arch}; it can on ` +
      `${Object.keys(platforms).join(', ')}. Set KEYHOUSE_LOCAL_MODEL=off and add a provider instead.`,
  )
}

export const engineFolder = (models: string): string => join(models, `engine-${engineVersion}-${enginePlatform()}`)
export const modelFolder = (models: string, name: string): string => join(models, 'weights', name)
export const weightsFile = (models: string, name: string): string => join(modelFolder(models, name), 'weights.gguf')
export const cardFile = (folder: string): string => join(folder, 'model.json')
export const partialFolder = (models: string, what: string): string => join(models, 'partial', what)
export const lockFile = (models: string, what: string): string => join(models, 'partial', `${what}.lock`)

export const hasEngine = (models: string): boolean => enginePlatform() !== null && existsSync(engineFolder(models))

/** The card of a model whose weights are here and whole, else `null`. Cheap: two look-ups in the file system. */
export const readCard = (models: string, name: string): ModelCard | null => {
  if (!isModelName(name)) return null
  try {
    // written by a pull, which checked it
    const card = JSON.parse(readFileSync(cardFile(modelFolder(models, name)), 'utf8')) as ModelCard
    return statSync(weightsFile(models, name)).size === card.bytes ? card : null
  } catch {
    // absent, or not ours: either way there is no model to run
    return null
  }
}

/** All complete models, those that an operator brought included. */
export const listCards = async (models: string): Promise<readonly ModelCard[]> => {
  const names = await readdir(join(models, 'weights')).catch(() => [])
  return names.map(name => readCard(models, name)).filter(card => card !== null)
}
