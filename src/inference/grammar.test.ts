import { expect, test } from 'vitest'
import { jsonSchemaGrammar } from './grammar.ts'
import { RefusalError } from './refusal.ts'

// That llama.cpp reads these grammars, and what they let through, is tested with the engine in test/inference.test.ts.

const deep = (levels: number): object => (levels === 0 ? { type: 'null' } : { type: 'array', items: deep(levels - 1) })

test.each<[string, unknown, RegExp]>([
  ['a schema that is a list', [], /something else than an object/],
  ['a type that does not exist', { type: 'date' }, /unknown type "date"/],
  ['a pattern under strict', { type: 'string', pattern: 'a+' }, /`pattern`/],
  ['a format under strict', { type: 'string', format: 'ipv4' }, /"ipv4"/],
  ['a reference to elsewhere', { $ref: 'https://example.com/x' }, /\$ref/],
  ['a reference to nothing', { $ref: '#/$defs/x', $defs: {} }, /something else than an object at #\/\$defs\/x/],
  ['a list of a million', { type: 'array', minItems: 1_000_000 }, /minItems/],
  ['a string shorter than its least', { type: 'string', minLength: 3, maxLength: 2 }, /maxLength/],
  ['a choice of nothing', { enum: [] }, /empty/],
  ['forty levels', deep(40), /nested more than/],
])('%s is refused with a sentence', (_what, schema, why) => {
  expect(() => jsonSchemaGrammar(schema, true)).toThrow(why)
  expect(() => jsonSchemaGrammar(schema, true)).toThrow(RefusalError)
})

test('without strict, what a grammar cannot hold is left to the model', () => {
  expect(jsonSchemaGrammar({ type: 'string', pattern: 'a+', format: 'ipv4' }, false)).toContain('::= string')
})

test('a thousand properties are refused rather than compiled', () => {
  const properties = Object.fromEntries(Array.from({ length: 1000 }, (_x, index) => [`p${index}`, { type: 'string' }]))
  expect(() => jsonSchemaGrammar({ type: 'object', properties }, true)).toThrow(/too large/)
})

test('names and values are quoted for the grammar as well as for JSON', () => {
  expect(jsonSchemaGrammar({ const: 'a"\\\n' }, true)).toContain('"\\"a\\\\\\"\\\\\\\\\\\\n\\""')
})
