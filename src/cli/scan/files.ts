/**
 * Which files a scan of a working tree reads: what git has or would take (so .gitignore counts), or, outside of
 * repositories, everything below the folder.
 */
import { lstatSync, readdirSync } from 'node:fs'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { messageOf, wrongUsage } from '../exit.ts'
import { type Git, gitText, topOf } from './git.ts'
import type { Skipped } from './skipped.ts'

export type FileList = {
  /** What the paths are relative to. */
  readonly base: string
  readonly paths: Iterable<string>
  /** What git holds or does not ignore; undefined outside of repositories. */
  readonly listed: readonly Listed[] | undefined
}

export type Listed = { readonly path: string; readonly isTracked: boolean }

type Wanted = { readonly includeIgnored: boolean; readonly env: NodeJS.ProcessEnv; readonly skipped: Skipped }

/** @param path a folder or one file */
export async function listFiles(path: string, { includeIgnored, env, skipped }: Wanted): Promise<FileList> {
  const target = resolve(path)
  const isFolder = isFolderAt(target)
  const git = { folder: isFolder ? target : dirname(target), env }
  const top = await topOf(git)
  const base = top ?? git.folder
  // A file that is named is read, ignored or not
  if (!isFolder) return { base, paths: [relative(base, target)], listed: undefined }
  const listed = top === undefined ? undefined : await listedByGit(git)
  if (listed === undefined || includeIgnored)
    return { base, paths: walk(base, relative(base, target), skipped), listed }
  return { base, paths: withoutPackages(listed, skipped), listed }
}

export function isFolderAt(target: string): boolean {
  try {
    return lstatSync(target).isDirectory()
  } catch (error) {
    throw wrongUsage(`'${target}' cannot be scanned: ${messageOf(error)}.`)
  }
}

const listing = ['ls-files', '-z', '-t', '--full-name', '--cached', '--others', '--exclude-standard']

/** Each line is a letter for its state, `?` for untracked, a space and the path; files in conflict come several times. */
async function listedByGit(git: Git): Promise<Listed[]> {
  const lines = (await gitText(git, listing)).split('\0').filter(line => line !== '')
  const tracked = new Map(lines.map(line => [line.slice(2), line[0] !== '?']))
  return [...tracked].map(([path, isTracked]) => ({ path, isTracked }))
}

const packages = 'node_modules'

export const isPackagePath = (path: string): boolean => path.split('/').includes(packages)

function* withoutPackages(listed: readonly Listed[], skipped: Skipped): Generator<string> {
  for (const { path } of listed) {
    if (isPackagePath(path)) skipped.add(packages, path)
    else yield path
  }
}

/** Everything below `folder`, in the order of names. Follows no links; goes into neither .git nor node_modules. */
function* walk(base: string, folder: string, skipped: Skipped): Generator<string> {
  for (const entry of entriesOf(join(base, folder), skipped)) {
    const path = folder === '' ? entry.name : `${folder}${sep}${entry.name}`
    if (entry.name === '.git') continue
    if (entry.isFile()) yield path
    else if (!entry.isDirectory()) skipped.add('no_file', path)
    else if (entry.name === packages) skipped.add(packages, path)
    else yield* walk(base, path, skipped)
  }
}

function entriesOf(folder: string, skipped: Skipped) {
  try {
    return readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))
  } catch {
    skipped.add('unreadable', folder)
    return []
  }
}
