import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { base62, type KeyKind, keyKinds, makeKey, parseKey, redactKey } from './key-format.ts'

const kinds = Object.keys(keyKinds) as KeyKind[]

test.each(kinds)('a new %s key is read back as one', kind => {
  const key = makeKey(kind, randomBytes)
  expect(key).toMatch(/^sk-kh-(proj|svcacct|admin|test)-[0-9A-Za-z]{49}$/)
  expect(parseKey(key)).toEqual({ ok: true, kind })
})

test('256 random bits fit into 43 characters', () => {
  expect(base62(2n ** 256n - 1n, 43)).toHaveLength(43)
  expect(makeKey('test', () => new Uint8Array(32).fill(255))).toHaveLength('sk-kh-test-'.length + 49)
})

test('one wrong character anywhere is seen', () => {
  const key = makeKey('project', randomBytes)
  fc.assert(
    fc.property(fc.nat(48), fc.constantFrom(...'0123456789ABCxyz'), (position, character) => {
      const at = 'sk-kh-proj-'.length + position
      fc.pre(key[at] !== character)
      return !parseKey(key.slice(0, at) + character + key.slice(at + 1)).ok
    }),
  )
})

test.each([
  [`"${makeKey('project', randomBytes)}"`, /quotes/],
  [` ${makeKey('project', randomBytes)}`, /spaces/],
  [makeKey('project', randomBytes).slice(0, -5), /cut/],
  [makeKey('project', randomBytes).replace(/.$/, '!'), /cut or with extra/],
  ['sk-proj-abcdefghijklmnopqrstuvwxyz0123456789', /OpenAI/],
  ['sk-ant-REDACTED', /Anthropic/],
  ['hello', /sk-kh-/],
])('%s gets a hint that fits', (text, hint) => {
  const parsed = parseKey(text)
  expect(parsed.ok === false && parsed.hint).toMatch(hint)
})

test('a redacted credential shows its kind and its last four characters, and nothing else', () => {
  const key = makeKey('admin', randomBytes)
  expect(redactKey(key)).toBe(`sk-kh-admin-****${key.slice(-4)}`)
  expect(redactKey('short')).not.toContain('short')
  expect(redactKey('line\r\nbreak and more text to be long enough')).not.toMatch(/[\r\n]/)
})
