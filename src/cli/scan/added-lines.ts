/**
 * Reads a stream of patches and gives what they add, each run of neighbouring lines as one text. Made for
 * `--unified=0`, where a hunk holds changed lines only, and for the combined patches of merges, of which a line counts
 * when no parent had it.
 */
import type { Commit, Source } from './finding.ts'

/** Longer texts and longer lines come in parts. */
const partCharactersMax = 8_000_000
/** Of a line that comes in parts, so that no secret is cut in two. */
const overlapCharacters = 1_000

/** How `git log --format` must begin each commit: a byte that begins no line of a patch. */
export const commitFormat = '%x00%H %at'

export async function* addedLines(patches: AsyncIterable<Buffer>): AsyncGenerator<Source> {
  const reader = new PatchReader()
  for await (const lines of linesOf(patches)) {
    for (const line of lines) {
      const source = reader.read(line)
      if (source) yield source
    }
  }
  const last = reader.flush()
  if (last) yield last
}

/** As many lines at a time as a piece has: an await for each of a million lines would cost more than reading them. */
async function* linesOf(pieces: AsyncIterable<Buffer>): AsyncGenerator<string[]> {
  let rest = ''
  for await (const piece of pieces) {
    const lines = (rest + piece.toString('latin1')).split('\n')
    rest = lines.pop() ?? ''
    yield lines
    if (rest.length < partCharactersMax) continue
    yield [rest]
    rest = rest.slice(0, 1) + rest.slice(-overlapCharacters)
  }
  yield [rest]
}

class PatchReader {
  #commit: Commit | undefined
  #path = ''
  /** How many columns of + and - stand before each line: one for each parent. 0 outside of hunks. */
  #parents = 0
  /** The number of the next line in the new file. */
  #line = 0
  #added: string[] = []
  #addedCharacters = 0

  /** @returns what was added up to here, when this line ends it */
  read(line: string): Source | undefined {
    if (this.#parents > 0 && /^[-+ \\]/.test(line)) return this.#readChange(line)
    const source = this.flush()
    this.#parents = 0
    if (line.startsWith('@@')) this.#beginHunk(line)
    else if (line.startsWith('+++ ')) this.#path = pathIn(line.slice(4))
    else if (line.startsWith('\0')) this.#commit = commitIn(line)
    return source
  }

  #readChange(line: string): Source | undefined {
    const marks = line.slice(0, this.#parents)
    if (marks.includes('-') || marks.startsWith('\\')) return undefined
    const isNew = !marks.includes(' ')
    const source = isNew && this.#addedCharacters < partCharactersMax ? undefined : this.flush()
    if (isNew) this.#keep(line.slice(this.#parents))
    this.#line += 1
    return source
  }

  #keep(line: string): void {
    this.#added.push(line)
    this.#addedCharacters += line.length + 1
  }

  /** The lines that were kept since the last time. */
  flush(): Source | undefined {
    if (this.#added.length === 0) return undefined
    const source = { path: this.#path, text: this.#added.join('\n'), line: this.#line - this.#added.length }
    this.#added = []
    this.#addedCharacters = 0
    return this.#commit ? { ...source, commit: this.#commit } : source
  }

  /** `@@ -1,2 +3,4 @@`, with one more @ and one more range for each further parent. */
  #beginHunk(line: string): void {
    this.#parents = (/^@+/.exec(line)?.[0].length ?? 2) - 1
    this.#line = Number(/ \+(\d+)/.exec(line)?.[1] ?? 1)
  }
}

function commitIn(line: string): Commit {
  const [id = '', seconds] = line.slice(1).split(' ')
  const date = new Date(Number(seconds) * 1000)
  // Commits that were made by hand may claim any time
  return { id, date: Number.isNaN(date.getTime()) ? 'unknown' : `${date.toISOString().slice(0, 19)}Z` }
}

/** `b/src/a.ts`, with a tab behind it when it holds spaces, in quotes and escaped when it holds stranger things. */
function pathIn(name: string): string {
  const plain = name.startsWith('"') ? unquoted(name) : name.replace(/\t$/, '')
  return Buffer.from(plain, 'latin1').toString().replace(/^b\//, '')
}

const escapes: Record<string, string> = { n: '\n', t: '\t', r: '\r', a: '\x07', b: '\b', f: '\f', v: '\v' }

const unquoted = (name: string): string =>
  name
    .slice(1, name.lastIndexOf('"'))
    .replace(/\\([0-7]{3}|.)/g, (_all, code: string) =>
      code.length === 3 ? String.fromCharCode(Number.parseInt(code, 8)) : (escapes[code] ?? code),
    )
