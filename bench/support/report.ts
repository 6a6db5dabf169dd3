/** Findings as Markdown, and the one file in which the last findings of every bench stand. */
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { version } from '#src/version.ts'
import type { Aim, Bench, Findings, Table } from './bench.ts'
import { installedVersion } from './installed-packages.ts'
import { showMegabytes } from './statistics.ts'
import type { MissingTool, Tools } from './tools.ts'

const resultsFile = fileURLToPath(new URL('../results.md', import.meta.url))
const opening = `# Benches

Written by \`npm run bench\`; each section is the last run of its bench. Ratios hold better than absolute numbers: what
they compare ran side by side, round by round, on the same machine.
`

export type Run = {
  readonly startedAt: Date
  /** Processes that wanted a CPU in the minute before: with more than one or two, the ratios are all that is left. */
  readonly loadBefore: number
  readonly tools: Tools
  readonly missing: readonly MissingTool[]
}

export function sectionOf({ name, question }: Bench, findings: Findings, run: Run): string {
  const parts = [
    `## ${name}`,
    question,
    findings.aims.map(showAim).join('\n'),
    ...findings.tables.map(showTable),
    ...findings.notes,
    ...run.missing.map(tool => `Missing: ${tool.name}, so ${tool.without}.`),
    `Measured ${run.startedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC on ${machine()}, load before ${run.loadBefore.toFixed(1)}; ${versions(run.tools)}.`,
  ]
  return `${parts.filter(part => part !== '').join('\n\n')}\n`
}

function showAim({ what, atMost, measured, unit }: Aim): string {
  const verdict = measured <= atMost ? 'met' : 'MISSED'
  return `- aim ${verdict}: ${what} at most ${atMost} ${unit}, measured ${measured.toFixed(2)} ${unit}`
}

function showTable({ title, columns, rows }: Table): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [`**${title}**`, '', line(columns), line(columns.map(() => '---')), ...rows.map(line)].join('\n')
}

function machine(): string {
  const [cpu] = cpus()
  return `${cpus().length} × ${cpu?.model.trim() ?? 'unknown CPU'}, ${showMegabytes(totalmem() / 1000)} GB, Linux ${release()}`
}

function versions(tools: Tools): string {
  const others = Object.entries({ undici: installedVersion('undici'), ...tools })
  return [`Keyhouse ${version}`, `Node ${process.versions.node}`, ...others.map(pair => pair.join(' '))].join(', ')
}

/** Puts the sections in the place of the older ones of their names; the other sections stay. */
export function writeResults(order: readonly string[], sections: ReadonlyMap<string, string>): void {
  const all = new Map([...readSections(), ...sections])
  const text = order.flatMap(name => all.get(name) ?? [])
  writeFileSync(resultsFile, [opening, ...text].join('\n'))
}

function readSections(): Map<string, string> {
  const [, ...sections] = readOrEmpty().split(/^(?=## )/m)
  return new Map(sections.map(text => [/^## (\S+)/.exec(text)?.[1] ?? '', `${text.trimEnd()}\n`]))
}

function readOrEmpty(): string {
  try {
    return readFileSync(resultsFile, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw error
  }
}
