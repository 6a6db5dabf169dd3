/**
 * One variable of a `.env` file, for a secret: the other lines stay as they are, nobody else may read it, and a file
 * that git tracks is refused, because the next commit would publish what is in it.
 */
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { appendFile, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { CliError, messageOf, wrongUsage } from './exit.ts'

export type EnvFile = {
  readonly path: string
  readonly name: string
  /** In a working tree of git, and named by none of its ignore files. */
  readonly shouldBeIgnored: boolean
  /** Written whole or not at all. */
  write(value: string): Promise<void>
  /** Names the file in the .gitignore beside it. */
  ignore(): Promise<void>
}

/** Looks at the file before anything is made that would have to go there. @throws CliError where it must not */
export async function openEnvFile(given: string, name: string): Promise<EnvFile> {
  if (!/^[A-Za-z_]\w*$/.test(name)) throw wrongUsage(`'${name}' is no name for a variable. Use letters, digits and _.`)
  const path = await targetOf(given)
  const inFolder = (...words: string[]): Promise<number> => gitExitCode(dirname(path), words)
  if ((await inFolder('ls-files', '--error-unmatch', '--', basename(path))) === 0) throw tracked(given, path)
  const before = await read(path, given)
  return {
    path,
    name,
    shouldBeIgnored: (await inFolder('check-ignore', '--quiet', '--', basename(path))) === 1,
    write: value => replace(path, withVariable(before, name, value)),
    ignore: () => addLine(join(dirname(path), '.gitignore'), `/${basename(path)}`),
  }
}

/** Where links lead: the link stays, and what it names is written. A file that is not there yet needs its folder. */
async function targetOf(given: string): Promise<string> {
  const path = resolve(given)
  const unreadable = (error: NodeJS.ErrnoException): undefined => {
    if (error.code !== 'ENOENT') throw wrongUsage(`'${given}' cannot be written: ${messageOf(error)}.`)
  }
  const real = await realpath(path).catch(unreadable)
  if (real !== undefined) return real
  const folder = await realpath(dirname(path)).catch(unreadable)
  if (folder === undefined) throw wrongUsage(`${given} cannot be written: there is no folder ${dirname(path)}.`)
  return join(folder, basename(path))
}

async function read(path: string, given: string): Promise<string> {
  try {
    // A device has no end
    if (!(await stat(path)).isFile()) throw new Error('it is no file')
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw wrongUsage(`'${given}' cannot be read: ${messageOf(error)}.`)
  }
}

/** The text with the variable set where it stood, or in a line at the end. Of several lines with its name one is left. */
export function withVariable(text: string, name: string, value: string): string {
  const lineEnd = text.includes('\r\n') ? '\r\n' : '\n'
  const lines = text === '' ? [] : text.replace(/\r?\n$/, '').split(/\r?\n/)
  const assignment = new RegExp(`^(\\s*(?:export\\s+)?)${name}\\s*=`)
  const first = lines.findIndex(line => assignment.test(line))
  const prefix = assignment.exec(lines[first] ?? '')?.[1] ?? ''
  const line = `${prefix}${name}=${value}`
  const changed = lines.flatMap((old, index) => (index === first ? [line] : assignment.test(old) ? [] : [old]))
  return [...changed, ...(first < 0 ? [line] : []), ''].join(lineEnd)
}

async function replace(path: string, text: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`
  try {
    await writeFile(aside, text, { mode: 0o600, flag: 'wx' })
    await rename(aside, path)
  } catch (error) {
    await rm(aside, { force: true })
    throw new CliError('failed', `${path} cannot be written: ${messageOf(error)}`, { cause: error })
  }
}

async function addLine(path: string, line: string): Promise<void> {
  const before = await readFile(path, 'utf8').catch(() => '')
  await appendFile(path, `${before === '' || before.endsWith('\n') ? '' : '\n'}${line}\n`)
}

const gitTimeoutMs = 10_000

/** 128 where there is no working tree; the same where there is no git, which then tracks nothing. */
function gitExitCode(folder: string, words: readonly string[]): Promise<number> {
  return new Promise(resolve => {
    execFile('git', ['-C', folder, ...words], { timeout: gitTimeoutMs }, error => {
      resolve(error === null ? 0 : typeof error.code === 'number' ? error.code : 128)
    })
  })
}

const tracked = (given: string, path: string): CliError =>
  wrongUsage(
    `${given} is tracked by git: the next commit would publish the key. Take it out first: ` +
      `git rm --cached ${basename(path)} && echo ${basename(path)} >> .gitignore`,
  )
