/** Files of the .env kind that git holds or would take with the next `git add`. */
import { basename } from 'node:path'
import type { Listed } from './files.ts'
import { maskSecrets } from './find-secrets.ts'
import { type Finding, hashOf } from './finding.ts'

export const envFileRule = {
  id: 'env-file-not-ignored',
  title: '.env file that git does not ignore',
  severity: 'medium',
  advice: 'List it in .gitignore; when git has it already, `git rm --cached` it and replace every secret in it.',
} as const

const shape = /^\.env(?:\.[\w.-]+)?$|^[\w-]+\.env$/
/** Examples without values belong into git. */
const template = /\b(?:example|sample|template|dist|defaults?|schema|tpl)\b/i

export const envFilesOf = (listed: readonly Listed[]): Finding[] => listed.filter(isEnvFile).map(toFinding)

function isEnvFile({ path }: Listed): boolean {
  const name = basename(path)
  return shape.test(name) && !template.test(name)
}

function toFinding({ path, isTracked }: Listed): Finding {
  const { id: rule, title, severity } = envFileRule
  const place = { path: maskSecrets(path), line: 1, column: 1 }
  return { rule, title, severity, advice: adviceFor(path, isTracked), ...place, shown: '', hash: hashOf(rule, path) }
}

function adviceFor(path: string, isTracked: boolean): string {
  const [quoted, ignored] = [shellQuoted(maskSecrets(path)), shellQuoted(`/${maskSecrets(path)}`)]
  const ignore = `echo ${ignored} >> .gitignore`
  if (!isTracked) return `${ignore}`
  return `git rm --cached ${quoted} && ${ignore}, then replace every secret that stood in it: history keeps them.`
}

export const shellQuoted = (text: string): string =>
  /^[\w./@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
