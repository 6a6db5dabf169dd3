/**
 * The pre-commit hook: a marked block in the file that git runs, where git says that it is (core.hooksPath counts). It
 * stands first in an existing shell script, since what follows may leave early; a hook in another language, a link, or a
 * folder of hooks that other repositories share is not touched.
 */
import { chmodSync, lstatSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CliError, messageOf } from '../exit.ts'
import { shellQuoted } from './env-files.ts'
import { type Git, gitPath, gitText } from './git.ts'

export type HookChange = {
  readonly path: string
  readonly outcome: 'installed' | 'added' | 'current' | 'removed' | 'absent'
}

const launcher = fileURLToPath(new URL('../../../bin/keyhouse.cjs', import.meta.url))
const begin = '# >>> keyhouse scan (taken out by `keyhouse scan --uninstall-hook`)'
const end = '# <<< keyhouse scan'
const block = new RegExp(`${RegExp.escape(begin)}\n[^]*?${RegExp.escape(end)}\n`)
const shebang = '#!/bin/sh\n'
const shellScript = /^#! ?\/(?:usr\/)?bin\/(?:env )?(?:ba|da|z|k)?sh\b.*\n/

/** @param options of `keyhouse scan`, for the hook to use, as in `--baseline known.json` */
export async function installHook(git: Git, options: readonly string[]): Promise<HookChange> {
  const path = await hookPath(git)
  const found = readHook(path)
  const ours = blockOf(options)
  if (found === undefined) return write(path, shebang + ours, 'installed')
  if (block.test(found)) {
    const renewed = found.replace(block, () => ours)
    return renewed === found ? { path, outcome: 'current' } : write(path, renewed, 'installed')
  }
  const opening = shellScript.exec(found)?.[0]
  if (opening === undefined) throw notOurs(path, 'is no shell script', options)
  return write(path, opening + ours + found.slice(opening.length), 'added')
}

export async function uninstallHook(git: Git): Promise<HookChange> {
  const path = await hookPath(git)
  const found = readHook(path)
  if (found === undefined || !block.test(found)) return { path, outcome: 'absent' }
  const rest = found.replace(block, '')
  if (rest !== shebang) return write(path, rest, 'removed')
  rmSync(path)
  return { path, outcome: 'removed' }
}

/** Without the program nothing is scanned: then nothing is committed either, and the sentence says what to do. */
function blockOf(options: readonly string[]): string {
  const [node, program] = [process.execPath, launcher].map(shellQuoted)
  const words = ['scan', '--staged', ...options].map(shellQuoted).join(' ')
  return [
    begin,
    `if [ -f ${program} ] && [ -x ${node} ]; then`,
    `  ${node} ${program} ${words} || exit 1`,
    'else',
    `  echo ${shellQuoted('Keyhouse is not where it was, so nothing was scanned. Run `keyhouse scan --install-hook` again.')} >&2`,
    '  exit 1',
    'fi',
    end,
    '',
  ].join('\n')
}

async function hookPath(git: Git): Promise<string> {
  const folder = await gitPath(git, 'hooks')
  const [top, common] = (await gitText(git, ['rev-parse', '--show-toplevel', '--git-common-dir'])).split('\n')
  const own = [top, common].map(name => resolve(git.folder, name ?? ''))
  if (own.some(place => isBelow(folder, place))) return join(folder, 'pre-commit')
  const line = `${shellQuoted(process.execPath)} ${shellQuoted(launcher)} scan --staged || exit 1`
  throw new CliError(
    'wrongUsage',
    `core.hooksPath is ${folder}, which other repositories use as well. Add this line to its pre-commit yourself: ${line}`,
  )
}

const isBelow = (path: string, folder: string): boolean => !/^\.\.(?:\/|$)|^\//.test(relative(folder, path))

function readHook(path: string): string | undefined {
  try {
    if (!lstatSync(path).isFile()) throw notOurs(path, 'is no regular file', [])
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error instanceof CliError ? error : notOurs(path, `cannot be read: ${messageOf(error)}`, [])
  }
}

function write(path: string, text: string, outcome: HookChange['outcome']): HookChange {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
  chmodSync(path, 0o755)
  return { path, outcome }
}

const notOurs = (path: string, why: string, options: readonly string[]): CliError =>
  new CliError(
    'wrongUsage',
    `${path} ${why}, so it was left as it is. Have it run this, and end when it fails: ` +
      ['keyhouse', 'scan', '--staged', ...options].map(shellQuoted).join(' '),
  )
