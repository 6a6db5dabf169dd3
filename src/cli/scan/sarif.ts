/** SARIF 2.1.0 (OASIS standard), as code scanning services take it: no snippets, since those would hold the secrets. */
import { version } from '#src/version.ts'
import { detectors, type Severity } from './detectors.ts'
import { envFileRule } from './env-files.ts'
import type { Finding } from './finding.ts'

const levels = { critical: 'error', high: 'error', medium: 'warning', low: 'note' } as const
/** As GitHub sorts alerts: over 9 is critical, over 7 high, over 4 medium. */
const scores = { critical: '9.5', high: '8.0', medium: '5.5', low: '2.0' } as const

type Rule = { readonly id: string; readonly title: string; readonly severity: Severity; readonly advice: string }
const rules: readonly Rule[] = [...detectors, envFileRule]
const ruleIndex = new Map(rules.map(({ id }, index) => [id, index]))

export const toSarif = (findings: readonly Finding[]): object => ({
  $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
  version: '2.1.0',
  runs: [
    {
      tool: { driver: { name: 'keyhouse scan', semanticVersion: version, rules: rules.map(toRule) } },
      columnKind: 'utf16CodeUnits',
      originalUriBaseIds: { '%SRCROOT%': { description: { text: 'The top of what was scanned.' } } },
      results: findings.map(toResult),
    },
  ],
})

const toRule = ({ id, title, severity, advice }: Rule) => ({
  id,
  name: id.replace(/(?:^|-)([a-z])/g, (_all, letter: string) => letter.toUpperCase()),
  shortDescription: { text: title },
  fullDescription: { text: `${title}. ${advice}` },
  help: { text: advice },
  defaultConfiguration: { level: levels[severity] },
  properties: { tags: ['security', 'secret'], 'security-severity': scores[severity] },
})

function toResult(finding: Finding) {
  const { rule, severity, hash, commit, live } = finding
  return {
    ruleId: rule,
    ruleIndex: ruleIndex.get(rule),
    level: levels[severity],
    message: { text: sentenceOf(finding) },
    locations: [{ physicalLocation: locationOf(finding) }],
    partialFingerprints: { 'keyhouseScan/v1': hash },
    properties: { ...(commit && { commit: commit.id, authorDate: commit.date }), ...(live && { live }) },
  }
}

function sentenceOf({ title, shown, advice, commit, live }: Finding): string {
  const what = [title, shown, commit && `added in ${commit.id}`, live && `(${live})`].filter(Boolean).join(' ')
  return `${what}. ${advice}`
}

const locationOf = ({ path, line, column }: Finding) => ({
  artifactLocation: { uri: path.split('/').map(encodeURIComponent).join('/'), uriBaseId: '%SRCROOT%' },
  region: { startLine: line, startColumn: column },
})
