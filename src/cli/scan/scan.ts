/** The three places that can be scanned: a working tree, what is staged, and the whole history of a repository. */
import { join } from 'node:path'
import { addedLines, commitFormat } from './added-lines.ts'
import { Collector } from './collector.ts'
import { envFilesOf } from './env-files.ts'
import { isPackagePath, listFiles } from './files.ts'
import type { Commit, Finding } from './finding.ts'
import { gitPieces, gitText, repositoryAt } from './git.ts'
import { readText } from './read-file.ts'
import { Skipped } from './skipped.ts'

export type ScanRequest = {
  readonly path: string
  readonly env: NodeJS.ProcessEnv
  /** Hashes of the findings that a baseline silences. */
  readonly known: ReadonlySet<string>
  readonly includeIgnored: boolean
}

export type ScanResult = {
  readonly findings: readonly Finding[]
  /** By the hash of their finding; for --check-live, and for nothing else. */
  readonly keyhouseKeys: ReadonlyMap<string, string>
  /** There were more findings than a scan keeps. */
  readonly isCut: boolean
  readonly files: number
  readonly bytes: number
  /** That add anything; undefined where no history was read. */
  readonly commits?: number
  readonly skipped: Skipped
}

export async function scanTree({ path, env, known, includeIgnored }: ScanRequest): Promise<ScanResult> {
  const [collector, skipped] = [new Collector(known), new Skipped()]
  const list = await listFiles(path, { includeIgnored, env, skipped })
  for (const finding of envFilesOf(list.listed ?? [])) collector.add(finding)
  let [files, bytes] = [0, 0]
  for (const name of list.paths) {
    if (collector.isFull) break
    const read = readText(join(list.base, name))
    if ('skip' in read) {
      skipped.add(read.skip, name)
      continue
    }
    collector.search({ path: name, text: read.text, line: 1 })
    files += 1
    bytes += read.bytes
  }
  return resultOf(collector, { files, bytes, skipped })
}

/** One form whatever is configured: plain two-sided patches with nothing around the changed lines. */
const patch = [
  ...['--patch', '--unified=0', '--inter-hunk-context=0', '--no-color', '--no-ext-diff', '--no-textconv'],
  ...['--src-prefix=a/', '--dst-prefix=b/', '--submodule=short', '--find-renames'],
]

export async function scanStaged({ path, env, known }: ScanRequest): Promise<ScanResult> {
  const git = await repositoryAt({ folder: path, env })
  const collector = new Collector(known)
  const names = await gitText(git, ['diff', '--cached', '--name-only', '-z', '--diff-filter=ACMRT'])
  const staged = names.split('\0').filter(name => name !== '')
  for (const finding of envFilesOf(staged.map(name => ({ path: name, isTracked: true })))) collector.add(finding)
  return searchPatches(gitPieces(git, ['diff', '--cached', ...patch]), collector)
}

/**
 * Every line that any commit of any branch, tag or stash added, from the oldest commit on, so that a secret is reported
 * where it came in. Of a merge: the lines that none of its parents had.
 */
export async function scanHistory({ path, env, known }: ScanRequest): Promise<ScanResult> {
  const git = await repositoryAt({ folder: path, env })
  const words = ['log', '--all', '--reverse', '--cc', '--no-show-signature', `--format=${commitFormat}`, ...patch]
  return { commits: 0, ...(await searchPatches(gitPieces(git, words), new Collector(known))) }
}

async function searchPatches(patches: AsyncIterable<Buffer>, collector: Collector): Promise<ScanResult> {
  const skipped = new Skipped()
  const [files, commits] = [new Set<string>(), new Set<Commit>()]
  let bytes = 0
  for await (const source of addedLines(patches)) {
    if (collector.isFull) break
    if (source.commit) commits.add(source.commit)
    if (isPackagePath(source.path)) {
      skipped.add('node_modules', source.path)
      continue
    }
    collector.search(source)
    files.add(source.path)
    bytes += source.text.length
  }
  const counted = { files: files.size, bytes, skipped }
  return resultOf(collector, commits.size > 0 ? { ...counted, commits: commits.size } : counted)
}

type Counted = Pick<ScanResult, 'files' | 'bytes' | 'commits' | 'skipped'>

function resultOf({ findings, keyhouseKeys, isFull }: Collector, counted: Counted): ScanResult {
  return { ...counted, findings, keyhouseKeys, isCut: isFull }
}
