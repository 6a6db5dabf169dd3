/**
 * The findings that a team knows of and has dealt with: a file of hashes, which may be committed. It says which rule and
 * where, for people; only the hash counts, and no secret can be read out of it.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import { messageOf, wrongUsage } from '../exit.ts'
import type { Finding } from './finding.ts'

const baselineSchema = z.object({
  version: z.literal(1),
  known: z.array(z.object({ hash: z.string().regex(/^[0-9a-f]{64}$/), rule: z.string(), path: z.string() })),
})

/** @returns the hashes */
export function readBaseline(file: string): ReadonlySet<string> {
  try {
    const { known } = baselineSchema.parse(JSON.parse(readFileSync(file, 'utf8')))
    return new Set(known.map(({ hash }) => hash))
  } catch (error) {
    const why = error instanceof z.ZodError ? z.prettifyError(error) : messageOf(error)
    throw wrongUsage(`The baseline '${file}' cannot be used: ${why}. --update-baseline writes a new one.`)
  }
}

export function writeBaseline(file: string, findings: readonly Finding[]): void {
  const byHash = new Map(findings.map(({ hash, rule, path }) => [hash, { hash, rule, path }]))
  const known = [...byHash.values()].sort((a, b) => (a.hash < b.hash ? -1 : 1))
  writeFileSync(file, `${JSON.stringify({ version: 1, known }, null, 2)}\n`)
}
