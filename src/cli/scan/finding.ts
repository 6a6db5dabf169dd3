/**
 * What a scan reports. Holds no secret: what is shown of one is its prefix and last four characters, and what tells two
 * apart is a hash.
 */
import { createHash } from 'node:crypto'
import type { Severity } from './detectors.ts'
import { findSecrets, type Hit, maskSecrets } from './find-secrets.ts'

/** With its author's date, in UTC. */
export type Commit = { readonly id: string; readonly date: string }
export type Liveness = 'live' | 'dead' | 'unknown'

export type Finding = {
  /** A detector's id, or `env-file-not-ignored`. */
  readonly rule: string
  readonly title: string
  readonly severity: Severity
  /** The one step that mends it. */
  readonly advice: string
  /** From the top of the repository, or of the folder that was scanned. */
  readonly path: string
  /** From 1. Columns count UTF-16 units, as editors do. */
  readonly line: number
  readonly column: number
  readonly shown: string
  /** Of rule and secret, so that a baseline knows it again wherever it moves. */
  readonly hash: string
  readonly commit?: Commit
  /** Of Keyhouse keys, when the server was asked. */
  readonly live?: Liveness
}

/** Text to look into: a file, or lines that were added to one. */
export type Source = {
  readonly path: string
  /** Bytes as Latin-1. */
  readonly text: string
  /** Of its first line. */
  readonly line: number
  readonly commit?: Commit
}

const allowComment = 'keyhouse-scan:allow'
/** How far from a finding its line is read: a minified file is one line of megabytes. */
const lineReach = 2_000

export function* findingsIn({ text, path, line, commit }: Source): Generator<{ hit: Hit; finding: Finding }> {
  let at = { line, start: 0, end: text.indexOf('\n') }
  for (const hit of findSecrets(text)) {
    while (at.end !== -1 && at.end < hit.at) {
      const start = at.end + 1
      at = { line: at.line + 1, start, end: text.indexOf('\n', start) }
    }
    if (isAllowed(text, at.start, hit)) continue
    const { id: rule, title, severity, advice } = hit.detector
    const about = { rule, title, severity, advice, shown: hit.shown, hash: hashOf(rule, hit.secret) }
    const place = { path: maskSecrets(path), line: at.line, column: columnOf(text, at.start, hit.at) }
    yield { hit, finding: { ...about, ...place, ...(commit && { commit }) } }
  }
}

/** Of UTF-8 that stands here as Latin-1; far out in long lines a column is just the number of bytes. */
function columnOf(text: string, lineStart: number, at: number): number {
  if (at - lineStart > lineReach) return at - lineStart + 1
  return Buffer.from(text.slice(lineStart, at), 'latin1').toString().length + 1
}

function isAllowed(text: string, lineStart: number, { at, end }: Hit): boolean {
  const from = Math.max(lineStart, at - lineReach)
  const near = text.slice(from, end + lineReach)
  const lineEnd = near.indexOf('\n', at - from)
  return (lineEnd === -1 ? near : near.slice(0, lineEnd)).includes(allowComment)
}

export const hashOf = (rule: string, secret: string): string =>
  createHash('sha256').update(`${rule}\0${secret}`).digest('hex')
