/**
 * Git, asked as a program: its own reader of its own formats. Whatever the user or the repository has configured, it
 * answers in one form, and runs none of the repository's programs (external diffs, text conversion, file monitors).
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { isAbsolute, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { messageOf, wrongUsage } from '../exit.ts'
import { safeText } from '../terminal.ts'
import { maskSecrets } from './find-secrets.ts'

export type Git = {
  /** Where it is asked. */
  readonly folder: string
  readonly env: NodeJS.ProcessEnv
}

const settings = ['core.quotePath=false', 'core.fsmonitor=false', 'log.showRoot=true', 'diff.relative=false']
const silenceMsMax = 300_000
const complaintCharactersMax = 300

/** What `git …` writes, piece by piece. @throws CliError when git is not there, fails, or is silent for too long */
export async function* gitPieces({ folder, env }: Git, words: readonly string[]): AsyncGenerator<Buffer> {
  const options = ['-C', folder, '--no-pager', ...settings.flatMap(setting => ['-c', setting]), ...words]
  const child = spawn('git', options, {
    env: { ...env, GIT_OPTIONAL_LOCKS: '0', LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = new Promise<number | null>((done, failed) => child.once('close', done).once('error', failed))
  ended.catch(() => undefined)
  const complaint = text(child.stderr).catch(messageOf)
  const silence = setTimeout(() => child.kill('SIGKILL'), silenceMsMax)
  try {
    await once(child, 'spawn').catch(gitMissing)
    for await (const piece of child.stdout) {
      silence.refresh()
      yield piece
    }
    const code = await ended
    if (code !== 0) throw gitFailed(words, await complaint, child.killed)
  } finally {
    clearTimeout(silence)
    child.kill('SIGKILL')
  }
}

export async function gitText(git: Git, words: readonly string[]): Promise<string> {
  const pieces: Buffer[] = []
  for await (const piece of gitPieces(git, words)) pieces.push(piece)
  return Buffer.concat(pieces).toString()
}

/** The top folder of the working tree that `git.folder` is in; undefined where there is none. */
export async function topOf(git: Git): Promise<string | undefined> {
  try {
    return (await gitText(git, ['rev-parse', '--show-toplevel'])).replace(/\n$/, '') || undefined
  } catch (error) {
    if (/not a git repository|must be run in a work tree/.test(messageOf(error))) return undefined
    throw error
  }
}

/** The same git, asked at the top of the working tree. @throws CliError where there is none */
export async function repositoryAt(git: Git): Promise<Git> {
  const folder = await topOf(git)
  if (folder !== undefined) return { ...git, folder }
  throw wrongUsage(`'${git.folder}' is in no git repository: --staged, --history and hooks need one.`)
}

/** Where git itself keeps `name`, as in `hooks` or `info/exclude`. */
export async function gitPath(git: Git, name: string): Promise<string> {
  const path = (await gitText(git, ['rev-parse', '--git-path', name])).replace(/\n$/, '')
  return isAbsolute(path) ? path : resolve(git.folder, path)
}

function gitMissing(cause: unknown): never {
  throw wrongUsage(`git cannot be run (${messageOf(cause)}). Install git, or scan a folder that is in no repository.`)
}

function gitFailed([command]: readonly string[], complaint: string, tooSilent: boolean): Error {
  const why = tooSilent ? `it wrote nothing for ${silenceMsMax / 1000} s` : safeText(maskSecrets(complaint))
  return wrongUsage(`\`git ${command}\` failed: ${why.slice(0, complaintCharactersMax)}`)
}
