/**
 * Finds secrets in text. One regular expression looks for every keyword of every detector at once, and V8 runs that at
 * several hundred MB/s; a detector's own pattern is tried only where its keyword stands. (One `Buffer.indexOf` for each
 * keyword, a pass for each, takes three times as long: bench/scan.ts.)
 *
 * Text is bytes as Latin-1: no byte is lost or merged, and V8 keeps such strings at one byte a character.
 */
import { redactKey } from '#core/key-format.ts'
import { type Detector, detectors } from './detectors.ts'

export type Hit = {
  readonly detector: Detector
  readonly secret: string
  /** Where the secret's pattern began, and where it ended. */
  readonly at: number
  readonly end: number
  /** All that may be shown of it. */
  readonly shown: string
}

const keywords = [...new Set(detectors.flatMap(detector => detector.keywords))].sort((a, b) => b.length - a.length)
const byKeyword = new Map(keywords.map(word => [word, detectors.filter(({ keywords }) => keywords.includes(word))]))

/** As in AWS credential files: the secret on one of the next lines. */
const followingCharacters = 400

export function* findSecrets(text: string): Generator<Hit> {
  const anyKeyword = new RegExp(keywords.map(word => RegExp.escape(word)).join('|'), 'g')
  for (let found = anyKeyword.exec(text); found !== null; found = anyKeyword.exec(text)) {
    const hit = hitAt(text, found.index, byKeyword.get(found[0]) ?? [])
    // A keyword may begin inside another one
    anyKeyword.lastIndex = hit?.end ?? found.index + 1
    if (hit) yield hit
  }
}

function hitAt(text: string, at: number, candidates: readonly Detector[]): Hit | undefined {
  for (const detector of candidates) {
    if (!detector.anywhere && continuesWord(text, at)) continue
    const { pattern } = detector
    pattern.lastIndex = at
    const match = pattern.exec(text)
    if (match === null) continue
    const secret = match[1] ?? match[0]
    const end = at + match[0].length
    if (!isSecret(detector, secret, text.slice(end, end + followingCharacters))) continue
    return { detector, secret, at, end, shown: detector.shown?.(match[0]) ?? redactKey(secret) }
  }
  return undefined
}

const isSecret = ({ entropyMin, accepts }: Detector, secret: string, following: string): boolean =>
  entropy(secret) >= entropyMin && accepts?.(secret, following) !== false

const isWordCharacter = /^\w$/
/** What ends in a letter or digit and yet is none: \n, %3D, \u0022, as in JSON inside of JSON, in URLs, in escapes. */
const escaped = /(?:\\[nrtfb]|%[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2})$/
const escapeCharactersMax = 6

/** `risk-…` has no key in it, though `sk-` stands there. */
function continuesWord(text: string, at: number): boolean {
  if (at === 0 || !isWordCharacter.test(text.charAt(at - 1))) return false
  return !escaped.test(text.slice(Math.max(0, at - escapeCharactersMax), at))
}

/** Shannon's, in bits per character, of ASCII text: every pattern admits only that. */
export function entropy(text: string): number {
  const counts = new Uint32Array(128)
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    counts[code] = (counts[code] ?? 0) + 1
  }
  return counts.reduce(
    (sum, count) => (count === 0 ? sum : sum - (count / text.length) * Math.log2(count / text.length)),
    0,
  )
}

/** The text with whatever looks like a secret cut down to what may be shown: for paths and other programs' messages. */
export function maskSecrets(text: string): string {
  let masked = ''
  let from = 0
  for (const { at, end, shown } of findSecrets(text)) {
    masked += text.slice(from, at) + shown
    from = end
  }
  return masked + text.slice(from)
}
