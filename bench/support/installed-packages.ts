/** What npm installed, package by package, with the bytes that each takes on the disk. */
import { lstatSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const blockBytes = 512

export type InstalledPackage = { readonly name: string; readonly bytes: number; readonly needed: boolean }

type LockFile = { readonly packages: Readonly<Record<string, { readonly version: string; readonly dev?: true }>> }

// npm's own file; `packages` has a row for each folder, and `dev` stands where only development needs it
const readLock = (): LockFile => JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as LockFile

export const installedVersion = (name: string): string =>
  readLock().packages[`node_modules/${name}`]?.version ?? 'unknown'

/** The largest first. A package that is nested in another is counted there. */
export function installedPackages(): InstalledPackage[] {
  const { packages } = readLock()
  const folders = Object.keys(packages).filter(path => path.lastIndexOf('node_modules/') === 0)
  return folders
    .map(path => ({
      name: path.slice('node_modules/'.length),
      bytes: diskBytes(join(root, path)),
      needed: packages[path]?.dev !== true,
    }))
    .filter(({ bytes }) => bytes > 0)
    .sort((a, b) => b.bytes - a.bytes)
}

/** Of a file or a folder with all that is in it; 0 where there is none, as for the packages of other platforms. */
function diskBytes(path: string): number {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (!stat) return 0
  const own = stat.blocks * blockBytes
  if (!stat.isDirectory()) return own
  return readdirSync(path).reduce((bytes, name) => bytes + diskBytes(join(path, name)), own)
}
