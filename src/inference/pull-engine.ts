/** Fetches the engine: node-llama-cpp and the native library of this platform, and none of its other 700 MB. */
import { readFileSync } from 'node:fs'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { requireSpace } from './files.ts'
import { engineFolder, engineVersion, hasEngine, requireEnginePlatform } from './model-folder.ts'
import { runNpm } from './npm.ts'
import { npmFailed, type PullOptions, pullOnce } from './pull.ts'

/** Measured for linux-x64; the other platforms are within a few megabytes. */
export const engineTarballBytes = 49_000_000
const engineUnpackedBytes = 90_000_000

type LockFile = {
  packages: Record<string, { dependencies?: Record<string, string>; optional?: boolean }>
}

const engineFile = (name: string): string => fileURLToPath(new URL(`./engine/${name}`, import.meta.url))

/**
 * Our lockfile lists the native library of every platform as optional, and `--omit=optional` keeps them all out (the CUDA
 * ones alone are half a gigabyte). This makes the one for this machine a plain dependency.
 */
export const lockForPlatform = (platform: string): { manifest: string; lock: string } => {
  const library = `@node-llama-cpp/${platform}`
  const dependencies = { 'node-llama-cpp': engineVersion, [library]: engineVersion }
  // our own file, beside this one
  const lock = JSON.parse(readFileSync(engineFile('package-lock.json'), 'utf8')) as LockFile
  const root = lock.packages['']
  const row = lock.packages[`node_modules/${library}`]
  if (root === undefined || row === undefined) throw new Error(`engine/package-lock.json does not list ${library}.`)
  root.dependencies = dependencies
  delete row.optional
  const manifest = { name: 'keyhouse-engine', private: true, dependencies }
  return { manifest: JSON.stringify(manifest), lock: JSON.stringify(lock) }
}

const fetchEngine = async ({ models, signal, onProgress }: PullOptions, folder: string): Promise<void> => {
  const { manifest, lock } = lockForPlatform(requireEnginePlatform())
  await requireSpace(models, engineTarballBytes + engineUnpackedBytes, 'the inference engine')
  const report = (bytesDone: number): void => {
    onProgress({ part: 'engine', bytesDone: Math.min(bytesDone, engineTarballBytes), bytesTotal: engineTarballBytes })
  }
  const work = join(folder, 'engine')
  await mkdir(work, { recursive: true })
  await writeFile(join(work, 'package.json'), manifest)
  await writeFile(join(work, 'package-lock.json'), lock)
  const args = ['ci', '--omit=optional', '--prefix', work]
  await runNpm({ args, folder: work, cacheFolder: join(folder, 'cache'), signal, onBytes: report }).catch(
    npmFailed('the inference engine', signal),
  )
  await rename(work, engineFolder(models))
  report(engineTarballBytes)
}

/** Fetches the engine, once for all models. */
export const pullEngine = (options: PullOptions): Promise<void> =>
  pullOnce({
    what: 'engine',
    options,
    bytesTotal: engineTarballBytes,
    isDone: () => hasEngine(options.models),
    fetch: fetchEngine,
  })
