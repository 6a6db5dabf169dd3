import { expect, test } from 'vitest'
import { makeKey } from '#core/key-format.ts'
import { detectors } from './detectors.ts'
import { findSecrets, maskSecrets } from './find-secrets.ts'
import { pick, randomBytes, samples, secretIn } from './testing.ts'

const rulesIn = (text: string): string[] => [...findSecrets(text)].map(({ detector }) => detector.id)
const sample = (id: string): string => samples[id]?.() ?? ''

test('every detector has a sample', () => {
  expect(Object.keys(samples)).toEqual(detectors.map(({ id }) => id))
})

const surroundings: [name: string, around: (secret: string) => string][] = [
  ['code', secret => `const key = '${secret}' // here\n`],
  ['a line of its own', secret => `\n${secret}\n`],
  ['a .env file', secret => `PORT=1\nKEY=${secret}\nX=2`],
  ['JSON inside of JSON', secret => JSON.stringify(JSON.stringify({ key: `\n${secret}` }))],
  ['a URL', secret => `https://example.com/?q=1%26key%3D${secret}&x=1`],
  ['the very beginning and end', secret => secret],
]

test.each(surroundings)('every kind of secret is found in %s', (_name, around) => {
  for (const [id, make] of Object.entries(samples)) expect([id, rulesIn(around(make()))]).toEqual([id, [id]])
})

test('what is shown of a secret is its first characters and the last four, no more', () => {
  for (const make of Object.values(samples)) {
    const [hit] = findSecrets(make())
    expect(hit?.shown.length).toBeLessThanOrEqual(40)
    expect(hit?.shown).not.toContain(secretIn(hit?.secret ?? '').slice(-6))
  }
  const key = makeKey('admin', randomBytes)
  expect([...findSecrets(key)][0]?.shown).toBe(`sk-kh-admin-****${key.slice(-4)}`)
})

const letters = (length: number): string => pick('abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ', length)
const nearMisses: [name: string, text: () => string][] = [
  ['a Keyhouse key that lacks a character', () => makeKey('project', randomBytes).slice(0, -1)],
  ['a Keyhouse key of no kind', () => makeKey('project', randomBytes).replace('proj', 'user')],
  ['a placeholder of a Keyhouse key', () => `sk-kh-proj-${'x'.repeat(49)}`],
  ['a damaged Keyhouse key that goes on', () => `${makeKey('project', randomBytes).slice(0, -1)}!`],
  ['a placeholder of an Anthropic key', () => `${'sk'}-ant-api03-${'x'.repeat(95)}`],
  ["AWS's own example", () => `${'AK'}IAIOSFODNN7EXAMPLE`],
  ['a word that ends in sk-', () => `ta${sample('openai-compatible-key')}`],
  ['a GitHub token that is too long', () => `${sample('github-token')}A`],
  ['an identifier', () => `${'h'}f_${'getTransformersConfigurationOption'.slice(0, 34)}s`],
  ['a variable that is read', () => `${'MISTRAL'}_API_KEY: process.env.${letters(40)}`],
  ['the header of a private key alone', () => `if (text.includes('-----BEGIN ${'PRIVATE'} KEY-----')) return\n`],
  ['a public key', () => sample('private-key').replaceAll('PRIVATE', 'PUBLIC')],
  ['the names of CSS classes', () => 'sk-fading-circle sk-circle12 xai-label hf_token AIza'],
]

test.each(nearMisses)('%s is not reported', (_name, text) => {
  expect(rulesIn(`value = "${text()}"\n`)).toEqual([])
})

test('a Keyhouse key is told by its checksum: found inside of words, and only doubted when one character is wrong', () => {
  const key = makeKey('service_account', randomBytes)
  expect(rulesIn(`abc${key}def`)).toEqual(['keyhouse-key'])
  const mistyped = key.slice(0, -1) + (key.endsWith('0') ? '1' : '0')
  expect(rulesIn(`key: ${mistyped}`)).toEqual(['keyhouse-key-damaged'])
})

test('several secrets on a line are all found, also side by side', () => {
  const [one, two] = [sample('github-token'), sample('groq-key')]
  expect(rulesIn(`${one} ${two};${one}`)).toEqual(['github-token', 'groq-key', 'github-token'])
})

test('an encrypted private key with its headers, one in a JSON string, and one that is indented are found', () => {
  const [begin, body] = [`-----BEGIN RSA ${'PRIVATE'} KEY-----`, pick('abcdefghKLMNOP0123+/', 64)]
  const forms = [
    `${begin}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0011\n\n${body}\n`,
    JSON.stringify({ key: `${begin}\n${body}\n` }),
    `key: |\n    ${begin}\n    ${body}\n`,
  ]
  for (const form of forms) expect(rulesIn(form)).toEqual(['private-key'])
})

test('masked text shows no secret and keeps the rest', () => {
  const key = makeKey('project', randomBytes)
  expect(maskSecrets(`fatal: no '${key}.txt' here`)).toBe(`fatal: no 'sk-kh-proj-****${key.slice(-4)}.txt' here`)
  expect(maskSecrets('nothing')).toBe('nothing')
})

const attackBytes = 5_000_000
const cpuSecondsMax = 2

test.each(detectors)('$id has no quantifier without a bound', ({ pattern }) => {
  const withoutClasses = pattern.source.replace(/\\./g, '').replace(/\[[^\]]*\]/g, '')
  expect(withoutClasses).not.toMatch(/[*+]|\{\d+,\}/)
})

/** Keywords side by side, keywords with what nearly is a secret behind them, and secrets that are cut or weak. */
function attackOn(id: string, keywords: readonly string[]): string {
  const whole = sample(id)
  const shapes = [
    ...keywords.flatMap(keyword => [keyword, `${keyword}-`, `-${keyword}1`, `${keyword}${'a1-'.repeat(60)} `]),
    ...[
      whole.slice(0, -1),
      `${whole.slice(0, -1)}=`,
      `${whole}-`,
      `${whole.slice(0, 12)}${'A'.repeat(300)} `,
      `${whole}\n`,
    ],
    ...[`${keywords[0]}"'  \t \t=\n\n  `, `${keywords[0]} ${'A '.repeat(40)}`],
  ]
  return shapes.map(shape => shape.repeat(Math.ceil(attackBytes / shapes.length / shape.length))).join('\n')
}

test.each(detectors)('$id: five megabytes of text made against it take seconds, not minutes', ({ id, keywords }) => {
  const text = attackOn(id, keywords)
  const before = process.cpuUsage()
  const found = rulesIn(text)
  const { user } = process.cpuUsage(before)
  // The attack reaches the detector: the secrets in it are found
  expect(found).toContain(id)
  expect(user / 1e6).toBeLessThan(cpuSecondsMax)
})
