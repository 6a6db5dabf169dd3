/**
 * Fetches packages through the operator's own npm, so that their registry, proxy, certificates and credentials apply and
 * we never see them. Every run has its own cache folder, for two reasons: its growth is the only progress that npm shows,
 * and what an interrupted run has fetched is still there for the next.
 */
import { spawn } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { delimiter, dirname, join } from 'node:path'

type Command = { readonly file: string; readonly args: readonly string[] }

const watchMs = 400
/** npm has time limits of its own per request; this one ends a run in which nothing arrives or unpacks any more. */
const stallMs = 180_000
const totalMs = 6 * 60 * 60 * 1000
const stderrCharsMax = 4_000

const isExecutable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * Where npm is: the one that started us, the one that came with this Node, or any on PATH, which runs under its own
 * Node and may be older than ours.
 */
export const findNpm = (env: NodeJS.ProcessEnv, nodePath: string): Command | null => {
  const besideNode = join(dirname(nodePath), '..', 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js')
  const scripts = [env.npm_execpath ?? '', besideNode].filter(path => path.endsWith('npm-cli.js') && existsSync(path))
  if (scripts[0] !== undefined) return { file: nodePath, args: [scripts[0]] }
  const onPath = (env.PATH ?? '').split(delimiter).map(folder => join(folder, 'npm'))
  const file = onPath.find(path => path !== 'npm' && isExecutable(path))
  return file === undefined ? null : { file, args: [] }
}

const folderBytes = async (folder: string): Promise<number> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  const sizes = entries
    .filter(entry => entry.isFile())
    // npm moves files while we look: one that is gone counts as nothing
    .map(entry =>
      stat(join(entry.parentPath, entry.name)).then(
        found => found.size,
        () => 0,
      ),
    )
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}

const lastLines = (stderr: string): string =>
  stderr
    .split('\n')
    .filter(line => /npm (error|ERR!)/.test(line) && !/complete log|npm (error|ERR!)\s*$/.test(line))
    .slice(0, 4)
    .map(line => line.replace(/^npm (error|ERR!)\s*/, ''))
    .join('; ')

export type NpmRun = {
  /** An npm command line, such as `['pack', 'left-pad@1.3.0']`. */
  readonly args: readonly string[]
  /** Runs here, away from any project's .npmrc. */
  readonly folder: string
  readonly cacheFolder: string
  readonly signal: AbortSignal
  /** Bytes fetched by this run and kept from earlier ones. */
  readonly onBytes: (bytes: number) => void
}

const quiet = [
  '--ignore-scripts',
  '--no-audit',
  '--no-fund',
  '--no-update-notifier',
  '--loglevel=error',
  '--no-progress',
]

/**
 * Runs its arguments, and ends them when its own input closes: on cancellation because we close it, and when we are
 * killed because the system does. So no npm is left behind, and nobody counts process ids.
 */
const untilInputCloses = `
  exec 3<&0
  "$@" </dev/null 3<&- & child=$!
  { read -r _ <&3; kill -s TERM "$child"; sleep 3; kill -s KILL "$child"; } >/dev/null 2>&1 & watcher=$!
  wait "$child"; code=$?
  kill -s KILL "$watcher" 2>/dev/null
  exit "$code"`

const npmMissing =
  'npm was not found: not beside this Node, and not on PATH. Install npm, or bring the file yourself: ' +
  '`keyhouse models pull NAME --from FILE --sha256 HASH`.'

/** Runs npm to its end. Rejects with what npm said, on cancellation, and when nothing moves for three minutes. */
export const runNpm = async (run: NpmRun): Promise<void> => {
  const npm = findNpm(process.env, process.execPath)
  if (npm === null) throw new Error(npmMissing)
  run.signal.throwIfAborted()
  const command = [npm.file, ...npm.args, ...run.args, '--cache', run.cacheFolder, ...quiet]
  const child = spawn('/bin/sh', ['-c', untilInputCloses, 'keyhouse-npm', ...command], {
    cwd: run.folder,
    stdio: ['pipe', 'ignore', 'pipe'],
  })
  let stderr = ''
  child.stderr.on('data', chunk => {
    stderr = (stderr + chunk).slice(-stderrCharsMax)
  })
  const watch = watchGrowth(run, () => child.stdin.destroy())
  try {
    const exitCode = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', resolve)
    })
    run.signal.throwIfAborted()
    if (watch.stalled()) throw new Error(`nothing arrived for ${stallMs / 1000} seconds`)
    if (exitCode !== 0) throw new Error(lastLines(stderr) || `npm ended with code ${exitCode}`)
  } finally {
    watch.end()
  }
}

/** Reports growth of the cache, and ends npm on cancellation, at the deadline, or when nothing grows any more. */
const watchGrowth = (run: NpmRun, end: () => void) => {
  let bytes = -1
  let movedAt = Date.now()
  let stalled = false
  const look = async (): Promise<void> => {
    const found = await folderBytes(run.cacheFolder)
    if (found !== bytes) movedAt = Date.now()
    bytes = found
    run.onBytes(found)
    stalled ||= Date.now() - movedAt > stallMs
    if (stalled) end()
  }
  const timer = setInterval(() => void look(), watchMs)
  const totalTimer = setTimeout(end, totalMs)
  run.signal.addEventListener('abort', end, { once: true })
  return {
    stalled: () => stalled,
    end: (): void => {
      clearInterval(timer)
      clearTimeout(totalTimer)
      run.signal.removeEventListener('abort', end)
      end()
    },
  }
}
