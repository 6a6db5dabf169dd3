/** The findings in the three forms in which they leave: for people, for programs, and as SARIF. */
import { bytes, count, duration } from '../amounts.ts'
import { safeText, style, type Terminal } from '../terminal.ts'
import type { Severity } from './detectors.ts'
import type { Finding } from './finding.ts'
import { toSarif } from './sarif.ts'
import type { ScanResult } from './scan.ts'

export const formats = ['human', 'json', 'sarif'] as const
export type Format = (typeof formats)[number]

/** @returns text that ends in a line end, or is empty */
export function reportOf(result: ScanResult, format: Format, terminal: Terminal): string {
  if (format === 'human') return result.findings.map(finding => describe(finding, terminal)).join('')
  return `${JSON.stringify(format === 'json' ? toJson(result) : toSarif(result.findings), null, 2)}\n`
}

const toJson = ({ findings, files, bytes, commits, skipped, isCut }: ScanResult): object => ({
  object: 'scan',
  findings,
  findings_cut: isCut,
  scanned: { files, bytes, ...(commits !== undefined && { commits }) },
  skipped: skipped.rows.map(({ reason, count, paths }) => ({ reason, count, paths })),
})

const colours = { critical: 'red', high: 'red', medium: 'yellow', low: 'dim' } as const satisfies Record<
  Severity,
  string
>
const commitCharacters = 12

function describe(finding: Finding, terminal: Terminal): string {
  const { path, line, column, severity, title, shown, commit, live, advice } = finding
  const place = style(terminal, 'bold', `${safeText(path)}:${line}:${column}`)
  const mark = style(terminal, colours[severity], severity)
  const from = commit && `in ${commit.id.slice(0, commitCharacters)} of ${commit.date.slice(0, 10)}`
  const facts = [title, shown, from, live && liveness[live]].filter(Boolean).join('  ')
  return `${place}  ${mark}  ${facts}\n  ${style(terminal, 'bold', '→')} ${safeText(advice)}\n`
}

const liveness = {
  live: 'LIVE: the server knows it',
  dead: 'dead: the server refuses it',
  unknown: 'live or dead: the server could not tell',
} as const

/** One line about what was looked into, and one for each reason to leave something out. */
export function summaryOf({ files, bytes: size, commits, skipped, isCut }: ScanResult, elapsedMs: number): string[] {
  const history = commits === undefined ? '' : ` of ${count(commits)} ${commits === 1 ? 'commit' : 'commits'}`
  const scanned = `Scanned ${count(files)} ${files === 1 ? 'file' : 'files'}${history}, ${bytes(size)}, in ${elapsedMs < 1000 ? `${Math.round(elapsedMs)} ms` : duration(elapsedMs / 1000)}.`
  const left = skipped.rows.map(
    row =>
      `Left out, ${row.why}: ${count(row.count)} (${row.paths.map(safeText).join(', ')}${row.count > row.paths.length ? ', …' : ''}).`,
  )
  return [
    scanned,
    ...left,
    ...(isCut ? ['There are more findings than these: mend these first, then scan again.'] : []),
  ]
}
