/** How fast `keyhouse scan` reads, in CPU time: what one core does, whatever else this machine is busy with. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeKey } from '#core/key-format.ts'
import { detectors } from '#src/cli/scan/detectors.ts'
import { findSecrets } from '#src/cli/scan/find-secrets.ts'
import { scanTree } from '#src/cli/scan/scan.ts'
import type { Bench, BenchContext, Findings } from './support/bench.ts'
import { ratiosOf, showSpread, spreadOf } from './support/statistics.ts'

export const scan: Bench = {
  name: 'scan',
  question: 'How many megabytes of source code does `keyhouse scan` look through in a second of one core?',
  run,
}

const secondsFor100MbMax = 1
const fileBytes = 20_000
const filesForKey = 50

async function run({ quick, progress }: BenchContext): Promise<Findings> {
  const { files, rounds } = quick ? { files: 100, rounds: 2 } : { files: 3_000, rounds: 9 }
  await using parts = new AsyncDisposableStack()
  const folder = parts.adopt(mkdtempSync(join(tmpdir(), 'keyhouse-bench-')), path => rmSync(path, { recursive: true }))
  progress(`writing ${files} files`)
  const bytes = writeSources(folder, files)
  const ways = {
    text: () => searchText(bytes),
    tree: () => searchTree(folder),
    keywordByKeyword: () => countKeys(bytes),
  }
  const series: Series = { text: [], tree: [], keywordByKeyword: [] }
  for (let round = 0; round <= rounds; round += 1) {
    progress(round === 0 ? 'warming' : `round ${round} of ${rounds}`)
    for (const name of ['text', 'tree', 'keywordByKeyword'] as const) {
      const { found, perSecond } = await megabytesPerSecond(bytes.length, ways[name])
      if (found !== files / filesForKey) throw new Error(`${name} found ${found} of ${files / filesForKey} keys`)
      if (round > 0) series[name].push(perSecond)
    }
  }
  return report(series, bytes.length)
}

/** @returns all of them in one */
function writeSources(folder: string, files: number): Buffer {
  const texts = Array.from({ length: files }, (_file, index) => sourceText(index, index % filesForKey === 0))
  for (const [index, text] of texts.entries()) writeFileSync(join(folder, `source-${index}.ts`), text)
  return Buffer.from(texts.join(''))
}

const searchText = (bytes: Buffer): number => [...findSecrets(bytes.toString('latin1'))].length

async function searchTree(path: string): Promise<number> {
  const { findings } = await scanTree({ path, env: process.env, known: new Set(), includeIgnored: true })
  return findings.length
}

const keywords = [...new Set(detectors.flatMap(detector => detector.keywords))]

/** What the one regular expression took the place of: a pass for each keyword. */
function countKeys(bytes: Buffer): number {
  for (const keyword of keywords) {
    for (let at = bytes.indexOf(keyword); at !== -1; at = bytes.indexOf(keyword, at + 1));
  }
  return bytes.toString('latin1').split('sk-kh-proj-').length - 1
}

async function megabytesPerSecond(bytes: number, search: () => number | Promise<number>) {
  const before = process.cpuUsage()
  const found = await search()
  const { user, system } = process.cpuUsage(before)
  return { found, perSecond: bytes / (user + system) }
}

const words = (
  'const return await import export function string number error result value request response index length client ' +
  'server stream token task risk disk usage project model message options config timeout retry undefined null async for'
).split(' ')
const marks = ['(', ')', ' = ', '.', ': ', ', ', ' => ', ' ', ' ', '_', '-', '"', "'", ' // ']

/** Lines like those of programs, the same for the same seed; a key in the middle where one is wanted. */
function sourceText(seed: number, withKey: boolean): string {
  const next = randomFrom(seed)
  const pick = (from: readonly string[]): string => from[next() % from.length] ?? ''
  const lines: string[] = []
  for (let size = 0; size < fileBytes; size += lines.at(-1)?.length ?? 0) {
    const length = 2 + (next() % 9)
    lines.push(`${' '.repeat(2 * (next() % 4))}${Array.from({ length }, () => pick(words) + pick(marks)).join('')}\n`)
  }
  if (withKey) lines.splice(lines.length >> 1, 0, `const key = '${makeKey('project', randomBytes(next))}'\n`)
  return lines.join('')
}

const randomBytes = (next: () => number) => (length: number) => Uint8Array.from({ length }, () => next() >>> 3)

/** Numerical Recipes' linear congruential generator, its low bits left out. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state >>> 8
  }
}

type Series = { readonly [Name in 'text' | 'tree' | 'keywordByKeyword']: number[] }

function report({ text, tree, keywordByKeyword }: Series, bytes: number): Findings {
  const row = (name: string, series: readonly number[]): string[] => [
    name,
    showSpread(spreadOf(series), 0),
    showSpread(ratiosOf(series, keywordByKeyword), 1),
  ]
  const aim = { what: 'CPU time for 100 MB of files', atMost: secondsFor100MbMax, unit: 's' }
  return {
    tables: [
      {
        title: `Megabytes in a second of CPU time, ${Math.round(bytes / 1e6)} MB with a key in every megabyte`,
        columns: ['', 'MB/s', 'of a pass for each keyword'],
        rows: [
          row('text in memory', text),
          row('a folder of files', tree),
          row('`Buffer.indexOf` for each keyword', keywordByKeyword),
        ],
      },
    ],
    aims: [{ ...aim, measured: 100 / spreadOf(tree).median }],
    notes: [
      `${detectors.length} detectors with ${keywords.length} keywords. Files of ${fileBytes / 1000} kB in the page cache; CPU time is of all threads, user and system.`,
    ],
  }
}
