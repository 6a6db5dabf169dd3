import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { type KeyKind, keyKinds, makeKey } from '#core/key-format.ts'
import { entropy } from './find-secrets.ts'
import { pick, randomBytes } from './testing.ts'

/** The rules that ship for other scanners, as far as this test needs to read TOML and YAML. */
const files = {
  'gitleaks.toml': {
    regex: /^regex = '''(.+)'''$/m,
    keyword: /^keywords = \["(.+)"\]$/m,
    entropy: /^entropy = (.+)$/m,
  },
  'trufflehog.yaml': { regex: /^ +key: '(.+)'$/m, keyword: /^ +- (sk-.+)$/m, entropy: /^ +entropy: (.+)$/m },
} as const

const docs = fileURLToPath(new URL('../../../docs/leaks/', import.meta.url))
const rules = Object.entries(files).map(([name, shapes]) => {
  const text = readFileSync(docs + name, 'utf8')
  const read = (shape: RegExp): string => shape.exec(text)?.[1] ?? ''
  return { name, regex: read(shapes.regex), keyword: read(shapes.keyword), entropyMin: Number(read(shapes.entropy)) }
})

const key = (kind: KeyKind): string => makeKey(kind, randomBytes)
const kinds = Object.keys(keyKinds) as KeyKind[] // the keys of a literal object are what its type says

test.each(rules)('$name finds keys of every kind, wherever they stand', ({ regex, keyword, entropyMin }) => {
  for (const kind of kinds.flatMap(each => Array.from({ length: 200 }, () => each))) {
    const made = key(kind)
    for (const text of [made, `key = "${made}"`, `${made}\n`, `{"a":"\\n${made}\\n"}`, `--key=${made}_x`]) {
      expect(new RegExp(regex).exec(text)?.[1]).toBe(made)
      expect(text.includes(keyword)).toBe(true)
    }
    expect(entropy(made)).toBeGreaterThan(entropyMin)
  }
})

test.each(rules)('$name does not find what only resembles a key', ({ regex, entropyMin }) => {
  const made = key('project')
  const others = [
    made.slice(0, -1),
    `${made}0`,
    made.replace('proj', 'user'),
    made.replace('sk-kh-', 'sk-'),
    made.replace('-kh-', '_kh_'),
  ]
  for (const text of others) expect(new RegExp(regex).exec(`key = "${text}"`)).toBeNull()
  expect(entropy(`sk-kh-proj-${'x'.repeat(49)}`)).toBeLessThan(entropyMin)
})

test.each(rules)("$name uses nothing that Go's RE2 lacks", ({ regex }) => {
  expect(regex).not.toBe('')
  // Look-around, back-references, atomic groups and possessive quantifiers
  expect(regex).not.toMatch(/\(\?[=!>]|\(\?<[=!]|\\[1-9k]|[+*?}]\+/)
})

test.each(rules)('$name: five megabytes of what nearly is a key take no more than a second', ({ regex }) => {
  const text = `${key('project').slice(0, -1)}-${pick('ab', 30)}`.repeat(55_000)
  const before = process.cpuUsage()
  expect([...text.matchAll(new RegExp(regex, 'g'))]).toEqual([])
  expect(process.cpuUsage(before).user / 1e6).toBeLessThan(1)
})
