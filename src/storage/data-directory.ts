/**
 * The one place on disk that belongs to an installation: the embedded database, the usage journal, the models, the
 * secrets. Open it before anything else: it is made on the first start, readable by its owner only, and refused to a
 * second server while the first one lives.
 */
import { constants } from 'node:fs'
import { access, mkdir, readdir, rmdir } from 'node:fs/promises'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { lockDirectory } from './directory-lock.ts'
import { makeRunDirectory } from './run-directory.ts'

export type DataDirectory = {
  readonly path: string
  readonly paths: DataPaths
  /** Gives the lock back. Everything that writes here must have stopped. */
  release(): Promise<void>
}

export type DataPaths = {
  /** The embedded database's cluster. */
  readonly postgres: string
  /** The usage journal, until the database has it. */
  readonly journal: string
  /** Weights of local models. */
  readonly models: string
  /** A file: the pepper and the sealing key, 0600. */
  readonly secrets: string
  /** Unix sockets; outside the data directory when its path is too long for one. */
  readonly run: string
  /** What is one node's alone: its journal, its name. The data directory itself, or a worker's folder in it. */
  readonly node: string
  /** The sockets of the embedded model, and of this node's fake provider. */
  readonly modelSocket: string
  readonly fakeSocket: string
}

export type Machine = { readonly env: NodeJS.ProcessEnv; readonly platform: NodeJS.Platform; readonly home: string }

/** Where the data is when nobody says so: `$XDG_DATA_HOME/keyhouse`, or what the platform uses instead. */
export function usualDataDirectory({ env, platform, home }: Machine): string {
  if (platform === 'darwin') return join(home, 'Library', 'Application Support', 'keyhouse')
  const xdg = env.XDG_DATA_HOME
  // The XDG specification: a relative path is invalid and must be ignored.
  return join(xdg && isAbsolute(xdg) ? xdg : join(home, '.local', 'share'), 'keyhouse')
}

/** @throws when the directory cannot be used, or is in use: the message names the other server's process id. */
export async function openDataDirectory(given: string): Promise<DataDirectory> {
  const path = resolve(given)
  await makePrivate(path)
  const lock = lockDirectory(path)
  try {
    const paths = await makePaths(path)
    return { path, paths, release: () => release(path, paths, lock) }
  } catch (error) {
    lock.release()
    throw error
  }
}

export type SharedDirectory = Pick<DataDirectory, 'path' | 'paths'>

/** A worker's part of the data directory that its primary holds: a folder of its own for what is one node's alone. */
export async function openWorkerDirectory({ path, paths }: SharedDirectory, worker: number): Promise<DataDirectory> {
  const node = join(path, 'workers', String(worker))
  await makePrivate(node)
  // A worker of a primary that was killed may need a moment to end; until then the journal is its own.
  const lock = lockDirectory(node)
  const journal = join(node, 'journal')
  const fakeSocket = join(paths.run, `fake-${worker}.sock`)
  return { path, paths: { ...paths, node, journal, fakeSocket }, release: async () => lock.release() }
}

/**
 * The folders of this installation's nodes that a start with so many workers does not run: what they left in their journals
 * is for somebody else to take up.
 */
export async function unusedNodes(path: string, workers: number): Promise<string[]> {
  const names = await readdir(join(path, 'workers')).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  const alone = workers === 1
  const unused = names.filter(name => alone || Number(name) > workers).map(name => join(path, 'workers', name))
  return alone ? unused : [path, ...unused]
}

async function makePrivate(path: string): Promise<void> {
  try {
    await makeFolders(path)
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (cause) {
    // node:fs throws nothing but Error
    const reason = (cause as Error).message
    throw new Error(
      `The data directory ${path} cannot be used (${reason}). ` +
        'Choose another one with --data-dir or KEYHOUSE_DATA_DIR, or mend its permissions.',
      { cause },
    )
  }
}

/** Step by step, because `recursive: true` never ends below a folder that takes none, such as /proc. */
async function makeFolders(path: string): Promise<void> {
  const made = await mkdir(path, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => error)
  if (made === undefined || made.code === 'EEXIST') return
  if (made.code !== 'ENOENT' || dirname(path) === path) throw made
  await makeFolders(dirname(path))
  await mkdir(path, { mode: 0o700 })
}

async function makePaths(path: string): Promise<DataPaths> {
  const run = makeRunDirectory(path)
  const paths = {
    postgres: join(path, 'postgres'),
    journal: join(path, 'journal'),
    models: join(path, 'models'),
    secrets: join(path, 'secrets.json'),
    run,
    node: path,
    modelSocket: join(run, 'model.sock'),
    fakeSocket: join(run, 'fake.sock'),
  }
  // postgres is not made here: that it exists means that the database in it is complete
  for (const folder of [paths.journal, paths.models]) await mkdir(folder, { recursive: true, mode: 0o700 })
  return paths
}

async function release(path: string, { run }: DataPaths, lock: { release(): void }): Promise<void> {
  // Only the stand-in for a long path is removed; what is left in it (a socket of a crash) may stay, the next start uses it.
  if (run !== join(path, 'run')) await rmdir(run).catch(() => undefined)
  lock.release()
}
