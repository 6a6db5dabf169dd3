/**
 * For tests: look-alikes of every kind of secret, put together as the tests run, so that no scanner finds any in this
 * repository; and git repositories in temporary folders.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { makeKey } from '#core/key-format.ts'
import { type Ran, runCli } from '../testing.ts'

const digits = '0123456789'
const lower = 'abcdefghijklmnopqrstuvwxyz'
const base62 = digits + lower + lower.toUpperCase()

/** A different one each time, the same ones in each run. */
let state = 42
function next(): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
  return state >>> 8
}

export const pick = (from: string, length: number): string =>
  Array.from({ length }, () => from.charAt(next() % from.length)).join('')

export const randomBytes = (length: number): Uint8Array => Uint8Array.from({ length }, () => next() >>> 3)
const word = (length: number): string => pick(base62, length)
const hex = (length: number): string => pick('0123456789abcdef', length)
const openAiMark = ['T3Blbk', 'FJ'].join('')

/** By the id of the detector that has to find it. */
export const samples: Record<string, () => string> = {
  'keyhouse-key': () => makeKey('project', randomBytes),
  'keyhouse-test-key': () => makeKey('test', randomBytes),
  'keyhouse-key-damaged': () => `${makeKey('project', randomBytes).slice(0, -6)}000000`,
  'anthropic-key': () => `${['sk', 'ant', 'api03'].join('-')}-${word(93)}AA`,
  'openrouter-key': () => `${['sk', 'or', 'v1'].join('-')}-${hex(64)}`,
  'openai-key': () => `${['sk', 'proj'].join('-')}-${word(74)}${openAiMark}${word(74)}`,
  'openai-compatible-key': () => `${'sk'}-${hex(31)}7`,
  'google-key': () => `${'AI'}za${word(35)}`,
  'aws-key-pair': () => `${'AK'}IA${pick(`${lower.toUpperCase()}234567`, 16)}\nsecret = ${word(38)}a7`,
  'aws-key-id': () => `${'AS'}IA${pick(`${lower.toUpperCase()}234567`, 16)}`,
  'github-token': () => `${'gh'}p_${word(36)}`,
  'github-fine-grained-token': () => `${'github'}_pat_${word(22)}_${word(59)}`,
  'stripe-live-key': () => `${'sk'}_live_${word(24)}`,
  'slack-token': () => `${'xo'}xb-${pick(digits, 12)}-${pick(digits, 13)}-${word(24)}`,
  'hugging-face-token': () => `${'h'}f_${word(34)}`,
  'groq-key': () => `${'g'}sk_${word(52)}`,
  'xai-key': () => `${'x'}ai-${word(80)}`,
  'perplexity-key': () => `${'pp'}lx-${word(48)}`,
  'replicate-token': () => `${'r'}8_${word(37)}`,
  'nvidia-key': () => `${'nv'}api-${word(64)}`,
  'provider-key-by-name': () => `MISTRAL_API${'_KEY'}=${word(31)}7`,
  'private-key': () => `-----BEGIN ${'PRIVATE'} KEY-----\n${word(64)}\n${word(64)}\n-----END ${'PRIVATE'} KEY-----`,
}

/** What must stand in no output: the part of a sample that is secret. */
export const secretIn = (sample: string): string => sample.split('\n')[1]?.replace('secret = ', '') ?? sample

export type Folder = {
  readonly path: string
  write(name: string, content: string | Buffer): string
  git(...words: string[]): string
  commit(message?: string): string
  /** `keyhouse scan …` of this folder, or of `name` in it. */
  scan(words?: readonly string[], env?: NodeJS.ProcessEnv, name?: string): Promise<Ran>
  remove(): void
}

/** The environment that git and the scanner get: none of this machine's settings. */
const plainEnv = { PATH: process.env.PATH, GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null' }
const author = {
  GIT_AUTHOR_NAME: 'A',
  GIT_AUTHOR_EMAIL: 'a@example.com',
  GIT_AUTHOR_DATE: '2026-03-04T05:06:07Z',
  GIT_COMMITTER_NAME: 'A',
  GIT_COMMITTER_EMAIL: 'a@example.com',
}

export function newFolder(): Folder {
  const path = mkdtempSync(join(tmpdir(), 'keyhouse-scan-'))
  const env = { ...plainEnv, ...author, HOME: path }
  const git = (...words: string[]): string =>
    execFileSync('git', ['-C', path, ...words], { env, encoding: 'utf8', stdio: 'pipe' }).trim()
  return {
    path,
    git,
    write(name, content) {
      const file = join(path, name)
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, content)
      return file
    },
    commit(message = 'change') {
      git('add', '--all')
      git('commit', '--quiet', '--allow-empty', '-m', message)
      return git('rev-parse', 'HEAD')
    },
    scan: (words = [], more = {}, name = '') =>
      runCli(['scan', join(path, name), ...words], { env: { ...env, ...more } }),
    remove: () => rmSync(path, { recursive: true }),
  }
}

export function newRepository(): Folder {
  const folder = newFolder()
  folder.git('init', '--quiet', '--initial-branch=main')
  return folder
}
